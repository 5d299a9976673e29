#if canImport(CoreML)
import CoreML
import Foundation

/// The same graph neural network as `Model`, computed by Core ML from `model.mlpackage` in this package.
///
///     let model = try await CoreMLModel.load()
///     try model.prepare(EdgeList(nodes: 3, [(0, 1), (1, 2)]))
///     let scores = try model.run(x)[0]
///
/// An instance is not for several threads at a time.
@available(iOS 17, macOS 14, *)
public final class CoreMLModel {
    private let inputs = CoreMLInputs()
    private let model: MLModel

    /// What the model takes and returns.
    public var contract: Contract { inputs.contract }

    private init(_ model: MLModel) { self.model = model }

    /// Compiles the package for this device and loads it, which takes a moment: keep the instance.
    ///
    /// - Parameter computeUnits: where Core ML may compute; small graphs are fastest on the CPU.
    public static func load(computeUnits: MLComputeUnits = .cpuOnly) async throws -> CoreMLModel {
        let package = Bundle.module.bundleURL.appendingPathComponent("model.mlpackage")
        let resource = Bundle.module.resourceURL?.appendingPathComponent("model.mlpackage") ?? package
        let compiled = try await MLModel.compileModel(at: resource)
        let configuration = MLModelConfiguration()
        configuration.computeUnits = computeUnits
        return CoreMLModel(try await MLModel.load(contentsOf: compiled, configuration: configuration))
    }

    /// As `Model.prepare`.
    public func prepare(_ edges: EdgeList) throws { try inputs.prepare(edges) }

    /// As `Model.run`.
    public func run(_ x: [Float], edgeAttr: [Float]? = nil) throws -> [Output] {
        let given = try inputs.arrays(x, edgeAttr: edgeAttr).mapValues { try MLFeatureValue(multiArray: Self.multiArray($0)) }
        let results = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: given))
        return try zip(contract.outputs, inputs.rows).map { output, rows in
            guard let array = results.featureValue(for: output.name)?.multiArrayValue else {
                throw ModelError.invalidInput("\(output.name): the Core ML file gives no array of this name.")
            }
            // A graph without edges is computed with one edge of zeros, whose row is cut off here.
            let values = MLShapedArray<Float>(array).scalars.prefix(rows * output.channels)
            return Output(name: output.name, rows: rows, channels: output.channels, values: Array(values))
        }
    }

    private static func multiArray(_ array: FeedArray) throws -> MLMultiArray {
        let shape = array.shape.map { NSNumber(value: $0) }
        if let floats = array.floats { return try filled(MLMultiArray(shape: shape, dataType: .float32), floats) }
        return try filled(MLMultiArray(shape: shape, dataType: .int32), array.ints ?? [])
    }

    private static func filled<Element>(_ array: MLMultiArray, _ values: [Element]) -> MLMultiArray {
        values.withUnsafeBytes { array.dataPointer.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        return array
    }
}
#endif
