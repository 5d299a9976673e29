/// The graphs that the model is right for, and what it returns.
public struct Contract: Sendable {
    public let name: String
    /// Values per node.
    public let features: Int
    /// Values per edge in `edgeAttr`, 0: none are read.
    public let edgeFeatures: Int
    /// Whether edge weights are read.
    public let edgeWeight: Bool
    public let maxNodes: Int
    /// Edges after preparation: added self-loops count.
    public let maxEdges: Int
    public let maxGraphs: Int
    /// Edges at one node after preparation.
    public let maxDegree: Int
    /// Whether node features must be 0 or 1.
    public let sparseFeatures: Bool
    /// Sizes of the graph whose edges are part of the model, or nil.
    public let fixedGraph: FixedGraph?
    public let outputs: [OutputInfo]

    func check(_ edges: EdgeList) throws {
        for (what, count, bound) in [("nodes", edges.nodes, maxNodes), ("graphs", edges.graphs, maxGraphs)] {
            try require(count <= bound, "\(count) \(what), \(name) was built for at most \(bound).")
        }
        try require(!edgeWeight || edges.weight != nil, "weight: missing, but \(name) reads edge weights.")
    }

    func check(edges: Int, edgeAttr: [Float]?) throws {
        if edgeFeatures == 0 { return }
        guard let edgeAttr else {
            throw ModelError.invalidInput("edgeAttr: missing, but \(name) reads \(edgeFeatures) attributes per edge.")
        }
        try require(
            edgeAttr.count == edges * edgeFeatures,
            "edgeAttr: \(edgeAttr.count) values, expected \(edges) edges * \(edgeFeatures) attributes.")
        try requireFinite("edgeAttr", edgeAttr)
    }
}

/// What a row of an output belongs to.
public enum Domain: Sendable { case node, edge, graph }

/// One output.
public struct OutputInfo: Sendable {
    public let name: String
    public let domain: Domain
    public let channels: Int
    /// Its edges are those given without self-loops, and one self-loop per node.
    public let addsSelfLoops: Bool

    /// Rows for a graph.
    public func rows(_ edges: EdgeList) -> Int {
        switch domain {
        case .node: return edges.nodes
        case .graph: return edges.graphs
        case .edge where addsSelfLoops: return edges.nodes + zip(edges.source, edges.target).filter { $0 != $1 }.count
        case .edge: return edges.count
        }
    }
}

/// Sizes of the graph that is part of a model; `rows` are those of each output.
public struct FixedGraph: Sendable {
    public let nodes: Int
    public let edges: Int
    public let rows: [Int]
}
