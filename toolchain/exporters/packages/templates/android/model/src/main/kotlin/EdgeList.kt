package @package@

/**
 * The edges of a graph, or of several graphs laid side by side, in any order.
 *
 * Self-loops, repeated edges and isolated nodes are legal. Give the edges as they are: what the model needs beyond them (added
 * self-loops, normalization, sorting) is computed from them.
 *
 * @property nodes number of nodes, at least one
 * @property source the node that each edge leaves (row 0 of PyTorch Geometric's `edge_index`)
 * @property target the node that each edge reaches (row 1)
 * @property weight one weight per edge, where the model reads `edge_weight`
 * @property graphOfNode the graph of each node, not decreasing (PyTorch Geometric's `batch`); null: all nodes are one graph
 * @property graphs number of graphs
 * @throws IllegalArgumentException arrays that do not belong together, or a node or graph that does not exist
 */
public class EdgeList(
    public val nodes: Int,
    public val source: IntArray,
    public val target: IntArray,
    public val weight: FloatArray? = null,
    public val graphOfNode: IntArray? = null,
    public val graphs: Int = 1,
) {
    /** Number of edges as given, without self-loops that the model adds. */
    public val size: Int get() = source.size

    init {
        require(nodes > 0) { "nodes: $nodes, expected at least one." }
        require(graphs > 0) { "graphs: $graphs, expected at least one." }
        require(target.size == size) { "target: ${target.size} nodes, expected $size, one per edge as in source." }
        require(weight == null || weight.size == size) { "weight: ${weight?.size} values, expected $size, one per edge." }
        requireIn("source", source, nodes, "nodes")
        requireIn("target", target, nodes, "nodes")
        requireFinite("weight", weight)
        if (graphOfNode == null) {
            require(graphs == 1) { "graphOfNode: missing, but graphs is $graphs. Pass the graph of each node." }
        } else {
            require(graphOfNode.size == nodes) { "graphOfNode: ${graphOfNode.size} values, expected $nodes, one per node." }
            requireIn("graphOfNode", graphOfNode, graphs, "graphs")
            for (i in 1 until nodes) {
                require(graphOfNode[i] >= graphOfNode[i - 1]) {
                    "graphOfNode: graph ${graphOfNode[i]} at node $i follows ${graphOfNode[i - 1]}. Sort the nodes by graph."
                }
            }
        }
    }
}

private fun requireIn(name: String, values: IntArray, count: Int, what: String) {
    for (i in values.indices) {
        require(values[i] in 0 until count) { "$name: ${values[i]} at $i, but there are $count $what: expected 0 to ${count - 1}." }
    }
}

/** Refuses NaN and infinities, at which the outputs of a model would be meaningless. */
internal fun requireFinite(name: String, values: FloatArray?) {
    if (values == null) return
    for (i in values.indices) {
        require(values[i].isFinite()) { "$name: ${values[i]} at $i; every value must be finite." }
    }
}
