import Foundation
import @module@

/// A graph, its features, and what the model computed for it where the package was made.
///
/// The arrays are files of this target's resources: little-endian float32 (`.f32`) and int32 (`.i32`), row by row.
public enum RecordedRun {
    /// Largest difference from the record, as a share of an output's largest magnitude; 0: every bit.
    public static let tolerance: Float = @tolerance@

    /// The edges, or nil where they are part of the model.
    public static func edges() throws -> EdgeList? {
        guard let source = try ints("source"), let target = try ints("target") else { return nil }
        return try EdgeList(
            nodes: @nodes@, source: source, target: target, weight: floats("edge_weight"), graphOfNode: ints("batch"), graphs: @graphs@)
    }

    /// The features, where they are 0 or 1.
    public static func ones() throws -> SparseFeatures? {
        guard let pointer = try ints("x_pointer"), let columns = try ints("x_index") else { return nil }
        return try SparseFeatures(pointer: pointer, columns: columns)
    }

    public static func x() throws -> [Float] {
        if let ones = try ones() { return try ones.dense(features: @features@) }
        return try floats("x") ?? []
    }

    public static func edgeAttr() throws -> [Float]? { try floats("edge_attr") }

    /// What the model computed, by output.
    public static func outputs() throws -> [[Float]] { try outputs("c") }

    /// The same of the model in a format.
    static func outputs(_ format: String) throws -> [[Float]] {
        var outputs: [[Float]] = []
        while let output = try floats("\(format)/output_\(outputs.count)") { outputs.append(output) }
        return outputs
    }

    /// Repeats the run and says where an output differs from the record; nil: every output agrees.
    public static func difference(_ model: Model) throws -> String? {
        if let edges = try edges() { try model.prepare(edges) }
        let given = if let ones = try ones() { try model.run(ones, edgeAttr: edgeAttr()) } else { try model.run(x(), edgeAttr: edgeAttr()) }
        return try difference(given, "c", tolerance)
    }

    static func difference(_ given: [Output], _ format: String, _ tolerance: Float) throws -> String? {
        let recorded = try outputs(format)
        if given.count != recorded.count { return "\(given.count) outputs, recorded are \(recorded.count)" }
        return zip(given, recorded).lazy.compactMap { difference($0, $1, tolerance) }.first
    }

    private static func difference(_ output: Output, _ recorded: [Float], _ tolerance: Float) -> String? {
        if output.values.count != recorded.count { return "\(output.name): \(output.values.count) values, recorded are \(recorded.count)" }
        let allowed = tolerance * (recorded.map(abs).max() ?? 0)
        for (place, (value, expected)) in zip(output.values, recorded).enumerated() where value.bitPattern != expected.bitPattern {
            if tolerance == 0 || !(abs(value - expected) <= allowed) {  // false for NaN
                return "\(output.name): \(value) at \(place), recorded is \(expected) (tolerance \(allowed))"
            }
        }
        return nil
    }

    static func floats(_ name: String) throws -> [Float]? {
        try words("\(name).f32")?.map(Float.init(bitPattern:))
    }

    static func ints(_ name: String) throws -> [Int]? {
        try words("\(name).i32")?.map { Int(Int32(bitPattern: $0)) }
    }

    private static func words(_ name: String) throws -> [UInt32]? {
        let url = Bundle.module.bundleURL.appendingPathComponent("recorded/\(name)")
        let resource = Bundle.module.resourceURL?.appendingPathComponent("recorded/\(name)") ?? url
        guard FileManager.default.fileExists(atPath: resource.path) else { return nil }
        let data = try Data(contentsOf: resource)
        return stride(from: 0, to: data.count, by: 4).map { place in
            (0..<4).reduce(0) { $0 | UInt32(data[data.startIndex + place + $1]) << UInt32(8 * $1) }
        }
    }
}
