import @module@

/// The recorded run in Core ML: what its file was given, and what the model computed.
public enum RecordedCoreMLRun {
    /// Largest difference from the record, as a share of an output's largest magnitude.
    public static let tolerance: Float = @coreml_tolerance@

    /// What the file takes for the recorded graph, by name, as it was computed where the package was made.
    public static func arrays(_ names: some Sequence<String>) throws -> [String: (floats: [Float]?, ints: [Int]?)] {
        try Dictionary(uniqueKeysWithValues: names.map {
            ($0, (try RecordedRun.floats("coreml/inputs/\($0)"), try RecordedRun.ints("coreml/inputs/\($0)")))
        })
    }

    #if canImport(CoreML)
    /// Repeats the run and says where an output differs from the record; nil: every output agrees.
    @available(iOS 17, macOS 14, *)
    public static func difference(_ model: CoreMLModel) throws -> String? {
        guard let edges = try RecordedRun.edges() else { return "no edges are recorded" }
        try model.prepare(edges)
        let given = try model.run(RecordedRun.x(), edgeAttr: RecordedRun.edgeAttr())
        return try RecordedRun.difference(given, "coreml", tolerance)
    }
    #endif
}
