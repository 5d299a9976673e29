/// What an input of the Core ML file holds: N nodes, E edges of its topology (added self-loops included), G graphs.
enum FeedKind: Sendable {
    case x  // [N, F]
    case edgeAttr  // [E, D]
    case edgeWeight  // [E, 1]
    case source  // [E]
    case target  // [E]
    case rowPointer  // [N + 1]
    case coefficient  // [E, 1]: the weights of the edges, with the factors of the nodes where `factors` says so
    case adjacency  // [N, N]: the coefficients as a matrix, row i = target i
    case sourceScale  // [N, 1]
    case targetScale  // [N, 1]
    case graphIndex  // [N]
    case poolMatrix  // [G, N]
    case inverseCount  // [G, 1]
}

/// One input of the Core ML file, as the manifest states it.
struct Feed: Sendable {
    let name: String
    let kind: FeedKind
    /// Index of the topology that the kind belongs to, or -1.
    var topology = -1
    /// Coefficients are divided by the in-degree, or the nodes of a graph.
    var mean = false
    /// The factors of the nodes are in the coefficients.
    var factors = true
    /// Padded with rows of zeros to at least this many.
    var minRows = 0

    /// Whether it follows from the features rather than from the edges alone.
    var isOfFeatures: Bool { kind == .x || kind == .edgeAttr }
}

/// An array for the Core ML file, row by row: `floats`, or `ints` where it holds numbers of nodes, edges or graphs.
public struct FeedArray: Equatable, Sendable {
    public let shape: [Int]
    public let floats: [Float]?
    public let ints: [Int32]?

    init(_ floats: [Float], rows: Int, width: Int, minRows: Int = 0) {
        let padding = [Float](repeating: 0, count: max(0, minRows - rows) * width)
        (shape, self.floats, ints) = ([max(rows, minRows), width], floats + padding, nil)
    }

    init(_ ints: [Int], minRows: Int = 0) {
        let padding = [Int32](repeating: 0, count: max(0, minRows - ints.count))
        (shape, floats, self.ints) = ([max(ints.count, minRows)], nil, ints.map(Int32.init) + padding)
    }
}

/// A graph with the topologies of a model: all that the inputs of the Core ML file are computed from.
struct PreparedGraph: Sendable {
    let edges: EdgeList
    let topologies: [Topology]
    private let graphOfNode: [Int]
    private let inverseCount: [Float]

    init(_ edges: EdgeList, _ specs: [TopologySpec]) throws {
        self.edges = edges
        topologies = try specs.map { try Topology($0, edges) }
        graphOfNode = edges.graphOfNode ?? [Int](repeating: 0, count: edges.nodes)
        var counts = [Int](repeating: 0, count: edges.graphs)
        for graph in graphOfNode { counts[graph] += 1 }
        inverseCount = counts.map { Float(1 / Double(max($0, 1))) }
    }

    /// The array of one input; `x` and `edgeAttr` are read by the two kinds that hold them.
    func array(_ feed: Feed, x: [Float] = [], edgeAttr: [Float] = [], edgeFeatures: Int = 0) throws -> FeedArray {
        let nodes = edges.nodes
        switch feed.kind {
        case .x: return FeedArray(x, rows: nodes, width: x.count / nodes)
        case .edgeAttr:
            let rows = try topologies[feed.topology].edgeValues(edgeAttr, width: edgeFeatures)
            return FeedArray(rows, rows: topologies[feed.topology].edges, width: edgeFeatures, minRows: feed.minRows)
        case .edgeWeight: return try edgeColumn(feed, edgeWeight(topologies[feed.topology]))
        case .source: return FeedArray(topologies[feed.topology].source, minRows: feed.minRows)
        case .target: return FeedArray(topologies[feed.topology].target, minRows: feed.minRows)
        case .rowPointer: return FeedArray(topologies[feed.topology].rowPointer)
        case .coefficient: return edgeColumn(feed, coefficients(feed))
        case .adjacency: return FeedArray(adjacency(feed), rows: nodes, width: nodes)
        case .sourceScale:
            return FeedArray(topologies[feed.topology].sourceScale ?? [Float](repeating: 1, count: nodes), rows: nodes, width: 1)
        case .targetScale: return FeedArray(targetScale(feed), rows: nodes, width: 1)
        case .graphIndex: return FeedArray(graphOfNode)
        case .poolMatrix: return FeedArray(poolMatrix(feed), rows: edges.graphs, width: nodes)
        case .inverseCount: return FeedArray(inverseCount, rows: edges.graphs, width: 1)
        }
    }

    private func edgeColumn(_ feed: Feed, _ values: [Float]) -> FeedArray {
        FeedArray(values, rows: values.count, width: 1, minRows: feed.minRows)
    }

    private func edgeWeight(_ topology: Topology) throws -> [Float] {
        if let weight = topology.weight { return weight }
        guard let given = edges.weight else { throw ModelError.invalidInput("weight: missing, but the model reads edge weights.") }
        try require(!topology.origin.contains(-1), "weight: the model adds self-loops, which have no weight.")
        return topology.origin.map { given[$0] }
    }

    private func inverseDegree(_ topology: Topology, _ node: Int) -> Float { Float(1 / Double(max(topology.inDegree(node), 1))) }

    private func targetScale(_ feed: Feed) -> [Float] {
        let topology = topologies[feed.topology]
        return (0..<edges.nodes).map { (topology.targetScale?[$0] ?? 1) * (feed.mean ? inverseDegree(topology, $0) : 1) }
    }

    private func coefficients(_ feed: Feed) -> [Float] {
        let topology = topologies[feed.topology]
        return (0..<topology.edges).map { edge in
            var value = topology.weight?[edge] ?? 1
            if feed.factors, let scale = topology.sourceScale { value *= scale[topology.source[edge]] }
            if feed.factors, let scale = topology.targetScale { value *= scale[topology.target[edge]] }
            if feed.mean { value *= inverseDegree(topology, topology.target[edge]) }
            return value
        }
    }

    /// Repeated edges add up, in double precision.
    private func adjacency(_ feed: Feed) -> [Float] {
        let topology = topologies[feed.topology]
        var sums = [Double](repeating: 0, count: edges.nodes * edges.nodes)
        for (edge, value) in coefficients(feed).enumerated() {
            sums[topology.target[edge] * edges.nodes + topology.source[edge]] += Double(value)
        }
        return sums.map { Float($0) }
    }

    private func poolMatrix(_ feed: Feed) -> [Float] {
        var matrix = [Float](repeating: 0, count: edges.graphs * edges.nodes)
        for (node, graph) in graphOfNode.enumerated() {
            matrix[graph * edges.nodes + node] = feed.mean ? inverseCount[graph] : 1
        }
        return matrix
    }
}
