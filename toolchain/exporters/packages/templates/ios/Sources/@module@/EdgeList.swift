/// The edges of a graph, or of several graphs laid side by side, in any order.
///
/// Self-loops, repeated edges and isolated nodes are legal. Give the edges as they are: what the model needs beyond them (added
/// self-loops, normalization, sorting) is computed from them.
public struct EdgeList: Sendable {
    /// Number of nodes.
    public let nodes: Int
    /// The node that each edge leaves (row 0 of PyTorch Geometric's `edge_index`).
    public let source: [Int]
    /// The node that each edge reaches (row 1).
    public let target: [Int]
    /// One weight per edge, where the model reads `edge_weight`.
    public let weight: [Float]?
    /// The graph of each node, not decreasing (PyTorch Geometric's `batch`); nil: all nodes are one graph.
    public let graphOfNode: [Int]?
    /// Number of graphs.
    public let graphs: Int

    /// Number of edges as given, without self-loops that the model adds.
    public var count: Int { source.count }

    /// - Throws: `ModelError.invalidInput` for arrays that do not belong together, or a node or graph that does not exist.
    public init(
        nodes: Int, source: [Int], target: [Int], weight: [Float]? = nil, graphOfNode: [Int]? = nil, graphs: Int = 1
    ) throws {
        try require(nodes > 0, "nodes: \(nodes), expected at least one.")
        try require(graphs > 0, "graphs: \(graphs), expected at least one.")
        try require(target.count == source.count, "target: \(target.count) nodes, expected \(source.count), one per edge as in source.")
        try requireIn("source", source, nodes, "nodes")
        try requireIn("target", target, nodes, "nodes")
        if let weight {
            try require(weight.count == source.count, "weight: \(weight.count) values, expected \(source.count), one per edge.")
            try requireFinite("weight", weight)
        }
        if let graphOfNode {
            try require(graphOfNode.count == nodes, "graphOfNode: \(graphOfNode.count) values, expected \(nodes), one per node.")
            try requireIn("graphOfNode", graphOfNode, graphs, "graphs")
            for (node, pair) in zip(graphOfNode, graphOfNode.dropFirst()).enumerated() where pair.1 < pair.0 {
                throw ModelError.invalidInput(
                    "graphOfNode: graph \(pair.1) at node \(node + 1) follows \(pair.0). Sort the nodes by graph.")
            }
        } else {
            try require(graphs == 1, "graphOfNode: missing, but graphs is \(graphs). Pass the graph of each node.")
        }
        self.nodes = nodes
        self.source = source
        self.target = target
        self.weight = weight
        self.graphOfNode = graphOfNode
        self.graphs = graphs
    }

    /// Edges as pairs of source and target.
    ///
    /// - Throws: as `init(nodes:source:target:weight:graphOfNode:graphs:)`.
    public init(
        nodes: Int, _ edges: [(source: Int, target: Int)], weight: [Float]? = nil, graphOfNode: [Int]? = nil, graphs: Int = 1
    ) throws {
        try self.init(
            nodes: nodes, source: edges.map(\.source), target: edges.map(\.target), weight: weight, graphOfNode: graphOfNode,
            graphs: graphs)
    }
}

func require(_ condition: Bool, _ message: @autoclosure () -> String) throws {
    if !condition { throw ModelError.invalidInput(message()) }
}

func requireIn(_ name: String, _ values: [Int], _ count: Int, _ what: String) throws {
    if let place = values.firstIndex(where: { !(0..<count).contains($0) }) {
        throw ModelError.invalidInput("\(name): \(values[place]) at \(place), but there are \(count) \(what): expected 0 to \(count - 1).")
    }
}

/// Refuses NaN and infinities, at which the outputs of a model would be meaningless.
func requireFinite(_ name: String, _ values: [Float]) throws {
    if let place = values.firstIndex(where: { !$0.isFinite }) {
        throw ModelError.invalidInput("\(name): \(values[place]) at \(place); every value must be finite.")
    }
}
