package @package@

/**
 * What an input of a model file holds: N nodes, E edges of its topology (added self-loops included), G graphs, K places in a
 * neighbour list, which is the largest degree. Unused places hold 0.
 */
public enum class FeedKind {
    X, // [N, F]
    EDGE_ATTR, // [E, D]
    EDGE_WEIGHT, // [E, 1]
    SOURCE, // [E]
    TARGET, // [E]
    ROW_POINTER, // [N + 1]
    COEFFICIENT, // [E, 1]: what an edge's message is multiplied by
    ADJACENCY, // [N, N]: the coefficients as a matrix, row i = target i
    SOURCE_SCALE, // [N, 1]
    TARGET_SCALE, // [N, 1]
    GRAPH_INDEX, // [N]
    POOL_MATRIX, // [G, N]
    INVERSE_COUNT, // [G, 1]
    NEIGHBOURS, // [N, K]: the source of each in-edge
    NEIGHBOUR_COEFFICIENT, // [N, 1, K]
    IN_EDGES, // [N, K]: the row of each in-edge in the edge feeds
    IN_MASK, // [N, 1, K]
    OUT_EDGES, // [N, K]
    OUT_MASK, // [N, 1, K]
}

/** Element types that model files take. */
public enum class ElementType { FLOAT32, INT32, INT64 }

/**
 * One input of a model file, as the manifest states it.
 *
 * @property rank number of axes
 * @property topology index of the topology that the kind belongs to, or -1
 * @property mean coefficients are divided by the in-degree (or the nodes of a graph)
 * @property loops added self-loops are among the edges
 * @property factors the factors of the nodes are in the coefficients
 * @property nodesAtMost, nodesAbove the graphs that the input is for, where a file has one way for small graphs and one for large
 * @property minRows padded with rows of zeros to at least this many
 */
public class Feed(
    public val name: String,
    public val kind: FeedKind,
    public val type: ElementType,
    public val rank: Int,
    public val topology: Int = -1,
    public val mean: Boolean = false,
    public val loops: Boolean = true,
    public val factors: Boolean = true,
    public val nodesAtMost: Int? = null,
    public val nodesAbove: Int? = null,
    public val minRows: Int = 0,
) {
    /** Whether the file reads it for a graph of this size. */
    public fun isFor(nodes: Int): Boolean = (nodesAtMost == null || nodes <= nodesAtMost) && (nodesAbove == null || nodes > nodesAbove)
}

/** An array for a model file: [floats] for FLOAT32, [ints] for the others. */
public class Tensor(public val type: ElementType, public val shape: LongArray, public val floats: FloatArray?, public val ints: IntArray?)

/** A graph with the topologies of a model: all that the inputs of a model file are computed from. */
public class PreparedGraph(public val edges: EdgeList, specs: List<TopologySpec>) {
    public val topologies: List<Topology> = specs.map { Topology.of(it, edges) }

    private val graphOfNode = edges.graphOfNode ?: IntArray(edges.nodes)
    private val inverseCount: FloatArray by lazy {
        val counts = IntArray(edges.graphs)
        for (graph in graphOfNode) counts[graph]++
        FloatArray(edges.graphs) { (1.0 / maxOf(counts[it], 1)).toFloat() }
    }

    /** Places that a neighbour list needs, or null for other inputs. */
    public fun degree(feed: Feed): Int? {
        if (feed.kind < FeedKind.NEIGHBOURS) return null
        val ends = if (isOutgoing(feed)) topologies[feed.topology].source else topologies[feed.topology].target
        val counts = IntArray(edges.nodes)
        for (node in ends) counts[node]++
        return maxOf(1, counts.max())
    }

    /** The array of one input; [x] and [edgeAttr] are read by the two kinds that hold them. */
    public fun tensor(feed: Feed, x: FloatArray?, edgeAttr: FloatArray?, edgeFeatures: Int): Tensor {
        val nodes = edges.nodes
        return when (feed.kind) {
            FeedKind.X -> floats(feed, x!!, nodes)
            FeedKind.EDGE_ATTR -> topology(feed).let { floats(feed, it.edgeValues(edgeAttr!!, edgeFeatures), it.edges, edgeFeatures) }
            FeedKind.EDGE_WEIGHT -> topology(feed).let { floats(feed, edgeWeight(it), it.edges, 1) }
            FeedKind.SOURCE -> edgeInts(feed, topology(feed).source)
            FeedKind.TARGET -> edgeInts(feed, topology(feed).target)
            FeedKind.ROW_POINTER -> ints(feed, topology(feed).rowPointer, nodes + 1)
            FeedKind.COEFFICIENT -> coefficients(feed).let { floats(feed, it, it.size, 1) }
            FeedKind.ADJACENCY -> floats(feed, adjacency(feed), nodes)
            FeedKind.SOURCE_SCALE -> floats(feed, topology(feed).sourceScale ?: FloatArray(nodes) { 1f }, nodes)
            FeedKind.TARGET_SCALE -> floats(feed, targetScale(feed), nodes)
            FeedKind.GRAPH_INDEX -> ints(feed, graphOfNode, nodes)
            FeedKind.POOL_MATRIX -> floats(feed, poolMatrix(feed), edges.graphs)
            FeedKind.INVERSE_COUNT -> floats(feed, inverseCount, edges.graphs)
            else -> neighbourList(feed)
        }
    }

    private fun topology(feed: Feed) = topologies[feed.topology]

    private fun edgeWeight(topology: Topology): FloatArray {
        topology.weight?.let { return it }
        val given = requireNotNull(edges.weight) { "weight: missing, but the model reads edge weights." }
        require(topology.origin.none { it < 0 }) { "weight: the model adds self-loops, which have no weight." }
        return FloatArray(topology.edges) { given[topology.origin[it]] }
    }

    private fun inverseDegree(topology: Topology, node: Int) = (1.0 / maxOf(topology.inDegree(node), 1)).toFloat()

    private fun targetScale(feed: Feed): FloatArray {
        val topology = topology(feed)
        return FloatArray(edges.nodes) { (topology.targetScale?.get(it) ?: 1f) * if (feed.mean) inverseDegree(topology, it) else 1f }
    }

    private fun edgeInts(feed: Feed, values: IntArray): Tensor {
        val rows = edgeRows(feed)
        return ints(feed, IntArray(rows.size) { values[rows[it]] }, rows.size)
    }

    /** Rows of the topology's edges that the feed asks for: all, or without added self-loops. */
    private fun edgeRows(feed: Feed): IntArray {
        val topology = topology(feed)
        val all = IntArray(topology.edges) { it }
        return if (feed.loops) all else all.filter { topology.origin[it] >= 0 }.toIntArray()
    }

    private fun coefficients(feed: Feed): FloatArray {
        val topology = topology(feed)
        val rows = edgeRows(feed)
        return FloatArray(rows.size) {
            val edge = rows[it]
            var value = topology.weight?.get(edge) ?: 1f
            if (feed.factors && topology.sourceScale != null) value *= topology.sourceScale[topology.source[edge]]
            if (feed.factors && topology.targetScale != null) value *= topology.targetScale[topology.target[edge]]
            if (feed.mean) value *= inverseDegree(topology, topology.target[edge])
            value
        }
    }

    /** Repeated edges add up, in double precision. */
    private fun adjacency(feed: Feed): FloatArray {
        val nodes = edges.nodes
        val topology = topology(feed)
        val values = coefficients(feed)
        val sums = DoubleArray(nodes * nodes)
        for (edge in values.indices) sums[topology.target[edge] * nodes + topology.source[edge]] += values[edge].toDouble()
        return FloatArray(sums.size) { sums[it].toFloat() }
    }

    private fun poolMatrix(feed: Feed): FloatArray {
        val matrix = FloatArray(edges.graphs * edges.nodes)
        for (node in 0 until edges.nodes) {
            matrix[graphOfNode[node] * edges.nodes + node] = if (feed.mean) inverseCount[graphOfNode[node]] else 1f
        }
        return matrix
    }

    private fun isOutgoing(feed: Feed) = feed.kind == FeedKind.OUT_EDGES || feed.kind == FeedKind.OUT_MASK

    private fun neighbourList(feed: Feed): Tensor {
        val topology = topology(feed)
        val width = degree(feed)!!
        val ends = if (isOutgoing(feed)) topology.source else topology.target
        val coefficients = if (feed.kind == FeedKind.NEIGHBOUR_COEFFICIENT) coefficients(feed) else null
        val isMask = feed.kind == FeedKind.IN_MASK || feed.kind == FeedKind.OUT_MASK
        val used = IntArray(edges.nodes)
        val floats = FloatArray(if (feed.type == ElementType.FLOAT32) edges.nodes * width else 0)
        val ints = IntArray(if (feed.type == ElementType.FLOAT32) 0 else edges.nodes * width)
        for (edge in 0 until topology.edges) {
            val place = ends[edge] * width + used[ends[edge]]++
            when {
                isMask -> floats[place] = 1f
                coefficients != null -> floats[place] = coefficients[edge]
                else -> ints[place] = if (feed.kind == FeedKind.NEIGHBOURS) topology.source[edge] else edge
            }
        }
        val inner = if (feed.rank == 3) longArrayOf(1, width.toLong()) else longArrayOf(width.toLong())
        return if (feed.type == ElementType.FLOAT32) padded(feed, floats, null, edges.nodes, inner) else padded(feed, null, ints, edges.nodes, inner)
    }

    private fun floats(feed: Feed, values: FloatArray, rows: Int, width: Int = values.size / rows) =
        padded(feed, values, null, rows, longArrayOf(width.toLong()))

    private fun ints(feed: Feed, values: IntArray, rows: Int) = padded(feed, null, values, rows, longArrayOf())

    private fun padded(feed: Feed, floats: FloatArray?, ints: IntArray?, rows: Int, inner: LongArray): Tensor {
        val given = maxOf(rows, feed.minRows)
        val size = inner.fold(given.toLong(), Long::times).toInt()
        return Tensor(feed.type, longArrayOf(given.toLong(), *inner), floats?.copyOf(size), ints?.copyOf(size))
    }
}

/** The same numbers, for files that take 64-bit integers. */
public fun IntArray.longs(): LongArray = LongArray(size) { this[it].toLong() }
