/// The graph side of the Core ML file: its inputs are computed from the edges once per graph, and from the features at each run.
public final class CoreMLInputs {
    /// What the file takes and returns.
    public let contract = coreMLContract

    private var graph: PreparedGraph?
    private var ofEdges: [String: FeedArray] = [:]

    public init() {}

    /// Rows of each output for the prepared edges.
    public var rows: [Int] { graph.map { graph in contract.outputs.map { $0.rows(graph.edges) } } ?? [] }

    /// Checks the edges, and sorts and normalizes them.
    ///
    /// - Throws: `ModelError`: the file was not built for this graph.
    public func prepare(_ edges: EdgeList) throws {
        try contract.check(edges)
        let prepared = try PreparedGraph(edges, coreMLTopologies)
        let count = prepared.topologies.map(\.edges).max() ?? 0
        try require(count <= contract.maxEdges, "\(count) edges (self-loops included), the file was built for at most \(contract.maxEdges).")
        graph = nil
        ofEdges = [:]
        for feed in coreMLFeeds where !feed.isOfFeatures { ofEdges[feed.name] = try prepared.array(feed) }
        graph = prepared
    }

    /// Every array that the file takes for the prepared edges and these features, by name.
    ///
    /// - Throws: `ModelError`: arrays of other sizes, values that are not finite, or nothing is prepared.
    public func arrays(_ x: [Float], edgeAttr: [Float]? = nil) throws -> [String: FeedArray] {
        guard let graph else { throw ModelError.notPrepared }
        let nodes = graph.edges.nodes
        try require(
            x.count == nodes * contract.features, "x: \(x.count) values, expected \(nodes) nodes * \(contract.features) features.")
        try requireFinite("x", x)
        try contract.check(edges: graph.edges.count, edgeAttr: edgeAttr)
        var arrays = ofEdges
        for feed in coreMLFeeds where feed.isOfFeatures {
            arrays[feed.name] = try graph.array(feed, x: x, edgeAttr: edgeAttr ?? [], edgeFeatures: contract.edgeFeatures)
        }
        return arrays
    }
}
