/// What happens to edges from a node to itself: they stay, each node gets one unless it has one, all are replaced by new ones, or dropped.
enum SelfLoops: Sendable { case keep, remaining, replace, remove }

/// Factors of the nodes: none, D^-1/2 on both sides with D the weighted in-degree or out-degree, or the number of in-edges as target.
enum Normalization: Sendable { case none, symmetric, symmetricOut, degree }

/// How a topology follows from the edges as given.
struct TopologySpec: Sendable {
    let selfLoops: SelfLoops
    let normalization: Normalization
    /// Edge weights enter the coefficients.
    let weighted: Bool
    /// Weight of an added self-loop.
    let loopWeight: Float
    /// The attributes of an added self-loop are the mean over the node's in-edges.
    let meanLoopAttributes: Bool
    /// Messages flow from target to source.
    let reversed: Bool
}

/// Edges that a layer aggregates over, sorted by target; edges with one target keep their order, added self-loops come last.
struct Topology: Sendable {
    let source: [Int]
    let target: [Int]
    /// The in-edges of node i are `rowPointer[i]` to `rowPointer[i + 1] - 1`.
    let rowPointer: [Int]
    /// nil: every edge weighs 1.
    let weight: [Float]?
    /// Factor of each node as source, or nil where all are 1.
    let sourceScale: [Float]?
    /// The same as target.
    let targetScale: [Float]?
    /// Place of each edge among those given, -1 for an added self-loop.
    let origin: [Int]
    private let meanLoopAttributes: Bool

    var edges: Int { source.count }

    /// - Throws: `ModelError.invalidInput`: weights are missing, or sum to less than zero where they are normalized.
    init(_ spec: TopologySpec, _ edges: EdgeList) throws {
        let (from, to) = spec.reversed ? (edges.target, edges.source) : (edges.source, edges.target)
        try require(!spec.weighted || edges.weight != nil, "weight: missing, but the model reads edge weights.")
        let given = spec.weighted ? edges.weight : nil
        let dropsLoops = spec.selfLoops != .keep
        let addsLoops = dropsLoops && spec.selfLoops != .remove
        let isWeighted = given != nil || (addsLoops && spec.loopWeight != 1)
        let kept = from.indices.filter { !dropsLoops || from[$0] != to[$0] }
        var loopWeight = [Float](repeating: spec.loopWeight, count: addsLoops ? edges.nodes : 0)
        if spec.selfLoops == .remaining, let given {
            for edge in from.indices where from[edge] == to[edge] { loopWeight[to[edge]] = given[edge] }
        }

        var pointer = [Int](repeating: 0, count: edges.nodes + 1)
        for edge in kept { pointer[to[edge] + 1] += 1 }
        for node in 0..<edges.nodes { pointer[node + 1] += pointer[node] + (addsLoops ? 1 : 0) }
        var sorted = [(source: Int, target: Int, origin: Int, weight: Float)](repeating: (0, 0, 0, 0), count: pointer[edges.nodes])
        var next = pointer
        for edge in kept {
            sorted[next[to[edge]]] = (from[edge], to[edge], edge, given?[edge] ?? 1)
            next[to[edge]] += 1
        }
        for node in loopWeight.indices { sorted[next[node]] = (node, node, -1, loopWeight[node]) }

        source = sorted.map(\.source)
        target = sorted.map(\.target)
        origin = sorted.map(\.origin)
        weight = isWeighted ? sorted.map(\.weight) : nil
        rowPointer = pointer
        meanLoopAttributes = spec.meanLoopAttributes
        switch spec.normalization {
        case .none: (sourceScale, targetScale) = (nil, nil)
        case .symmetric:
            sourceScale = try Self.inverseRoots(edges.nodes, target, weight)
            targetScale = sourceScale
        case .symmetricOut:
            sourceScale = try Self.inverseRoots(edges.nodes, source, weight)
            targetScale = sourceScale
        case .degree:
            sourceScale = nil
            targetScale = (0..<edges.nodes).map { Float(pointer[$0 + 1] - pointer[$0]) }
        }
    }

    func inDegree(_ node: Int) -> Int { rowPointer[node + 1] - rowPointer[node] }

    /// Rows of `width` values per edge as given, in the order of these edges; added self-loops get theirs.
    func edgeValues(_ values: [Float], width: Int) throws -> [Float] {
        var rows = [Float](repeating: 0, count: edges * width)
        for edge in 0..<edges where origin[edge] >= 0 {
            for i in 0..<width { rows[edge * width + i] = values[origin[edge] * width + i] }
        }
        for loop in 0..<edges where origin[loop] < 0 {
            try require(meanLoopAttributes, "edgeAttr: the model adds self-loops, which have no attributes.")
            let node = target[loop]
            let given = (rowPointer[node]..<rowPointer[node + 1]).filter { origin[$0] >= 0 }
            for i in 0..<width {
                rows[loop * width + i] = given.reduce(0) { $0 + rows[$1 * width + i] } / Float(max(given.count, 1))
            }
        }
        return rows
    }

    /// 1 over the root of the weights at each node; `ends` is the node of each edge.
    private static func inverseRoots(_ nodes: Int, _ ends: [Int], _ weight: [Float]?) throws -> [Float] {
        var sums = [Double](repeating: 0, count: nodes)
        for (edge, end) in ends.enumerated() { sums[end] += Double(weight?[edge] ?? 1) }
        return try sums.enumerated().map { node, sum in
            let degree = Float(sum)
            try require(degree >= 0, "weight: the weights into node \(node) sum to \(degree), which cannot be normalized.")
            return degree == 0 ? 0 : 1 / degree.squareRoot()
        }
    }
}
