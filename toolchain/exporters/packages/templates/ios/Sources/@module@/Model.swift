import C@module@

/// A graph neural network as native code, with its weights: it needs no file and no runtime beside this package.
///
/// `prepare` does what depends on the edges alone, once per graph; `run` computes the outputs for one set of features, any number
/// of times.
///
///     let model = try Model()
///     try model.prepare(EdgeList(nodes: 3, [(0, 1), (1, 2)]))
///     let scores = try model.run(x)[0]
///
/// An instance holds the memory of the largest graph that the model was built for. It is not for several threads at a time; give
/// each task an instance of its own.
public final class Model {
    /// What the model takes and returns.
    public let contract = modelContract

    private let arena: UnsafeMutableRawPointer
    private let arenaBytes = @library@_required_bytes()
    private var graph: Prepared?

    private struct Prepared {
        let nodes: Int
        let edges: Int
        let rows: [Int]
    }

    /// - Throws: `ModelError.refused` if the edges that are part of a model cannot be prepared, which a passed self-test rules out.
    public init() throws {
        arena = .allocate(byteCount: arenaBytes, alignment: Int(GNN_ALIGNMENT))
        arena.initializeMemory(as: UInt8.self, repeating: 0, count: arenaBytes)
        if let fixed = contract.fixedGraph {
            try accept(@library@_prepare(nil, arena, arenaBytes))
            graph = Prepared(nodes: fixed.nodes, edges: fixed.edges, rows: fixed.rows)
        }
    }

    deinit {
        arena.deallocate()
    }

    /// Checks the edges, and sorts and normalizes them.
    ///
    /// - Throws: `ModelError`: the model was not built for this graph, or its edges are part of the model.
    public func prepare(_ edges: EdgeList) throws {
        if contract.fixedGraph != nil { throw ModelError.fixedGraph }
        try contract.check(edges)
        try require(edges.nodes <= UInt16.max, "\(edges.nodes) nodes, a call takes at most \(UInt16.max).")
        graph = nil
        // The range of each number was checked when the list was made.
        let status = withPointer(edges.source.map(UInt16.init)) { source in
            withPointer(edges.target.map(UInt16.init)) { target in
                withPointer(edges.graphOfNode?.map(UInt16.init)) { batch in
                    withPointer(edges.weight) { weight in
                        var given = gnn_graph(
                            num_nodes: UInt32(edges.nodes), num_edges: UInt32(edges.count), num_graphs: UInt32(edges.graphs),
                            source: source, target: target, batch: batch, edge_weight: weight,
                            edge_type: nil)
                        return @library@_prepare(&given, arena, arenaBytes)
                    }
                }
            }
        }
        try accept(status)
        graph = Prepared(nodes: edges.nodes, edges: edges.count, rows: contract.outputs.map { $0.rows(edges) })
    }

    /// Computes every output for the prepared edges.
    ///
    /// - Parameters:
    ///   - x: node features, row by row: nodes * `contract.features` values.
    ///   - edgeAttr: edge attributes in the order of the edges as given: edges * `contract.edgeFeatures` values, or nil where the
    ///     model reads none.
    /// - Throws: `ModelError`: arrays of other sizes, values that are not finite, or nothing is prepared.
    public func run(_ x: [Float], edgeAttr: [Float]? = nil) throws -> [Output] {
        guard let graph else { throw ModelError.notPrepared }
        try require(
            x.count == graph.nodes * contract.features,
            "x: \(x.count) values, expected \(graph.nodes) nodes * \(contract.features) features.")
        if contract.sparseFeatures { return try run(SparseFeatures(x, features: contract.features), edgeAttr: edgeAttr) }
        try requireFinite("x", x)
        return try withPointer(x) { try run(graph, gnn_features(x: $0, x_pointer: nil, x_index: nil, edge_attr: nil), edgeAttr) }
    }

    /// As `run` with rows of features, for models that take features of 0 and 1.
    public func run(_ x: SparseFeatures, edgeAttr: [Float]? = nil) throws -> [Output] {
        guard let graph else { throw ModelError.notPrepared }
        try require(contract.sparseFeatures, "x: \(contract.name) takes rows of features, not the places of ones.")
        try require(x.rows == graph.nodes, "x: \(x.rows) rows, the prepared graph has \(graph.nodes) nodes.")
        try requireIn("columns", x.columns, contract.features, "features")
        return try withPointer(x.pointer.map(UInt32.init)) { pointer in
            try withPointer(x.columns.map(UInt16.init)) { columns in
                try run(graph, gnn_features(x: nil, x_pointer: pointer, x_index: columns, edge_attr: nil), edgeAttr)
            }
        }
    }

    /// `prepare`, then `run`.
    public func run(_ edges: EdgeList, _ x: [Float], edgeAttr: [Float]? = nil) throws -> [Output] {
        try prepare(edges)
        return try run(x, edgeAttr: edgeAttr)
    }

    private func run(_ graph: Prepared, _ features: gnn_features, _ edgeAttr: [Float]?) throws -> [Output] {
        try contract.check(edges: graph.edges, edgeAttr: edgeAttr)
        let results = zip(contract.outputs, graph.rows).map { output, rows in
            UnsafeMutableBufferPointer<Float>.allocate(capacity: max(1, rows * output.channels))
        }
        defer { results.forEach { $0.deallocate() } }
        results.forEach { $0.initialize(repeating: 0) }
        let addresses = results.map(\.baseAddress)
        let status = addresses.withUnsafeBufferPointer { values in
            withPointer(edgeAttr) { attributes in
                var given = features
                given.edge_attr = attributes
                var outputs = gnn_outputs(values: values.baseAddress, sink: nil, context: nil)
                return @library@_run(&given, arena, arenaBytes, &outputs)
            }
        }
        try accept(status)
        return contract.outputs.indices.map { i in
            let (output, rows) = (contract.outputs[i], graph.rows[i])
            return Output(name: output.name, rows: rows, channels: output.channels, values: Array(results[i].prefix(rows * output.channels)))
        }
    }

    private func accept(_ status: gnn_status) throws {
        if status != GNN_OK { throw ModelError.refused(Status(rawValue: Int(status.rawValue))!) }
    }
}

/// Values of one output, `rows` times `channels`, row by row: a row per node, edge (in the model's order) or graph.
public struct Output: Sendable {
    public let name: String
    public let rows: Int
    public let channels: Int
    public let values: [Float]

    /// Value of one channel of a row.
    public subscript(row: Int, channel: Int) -> Float { values[row * channels + channel] }

    /// One row.
    public subscript(row: Int) -> ArraySlice<Float> { values[row * channels..<(row + 1) * channels] }
}

private func withPointer<Element, Result>(
    _ array: [Element]?, _ body: (UnsafePointer<Element>?) throws -> Result
) rethrows -> Result {
    guard let array else { return try body(nil) }
    return try array.withUnsafeBufferPointer { try body($0.baseAddress) }
}
