package @package@

/**
 * The graphs that a model file is right for, and what it returns. Bounds are null where there are none.
 *
 * @property features values per node
 * @property edgeFeatures values per edge in `edgeAttr`, 0: none are read
 * @property edgeWeight whether edge weights are read
 * @property maxEdges edges after preparation: added self-loops count
 * @property maxDegree edges at one node after preparation
 * @property sparseFeatures whether node features must be 0 or 1
 * @property fixedGraph the graph whose edges are part of the model, or null
 */
public class Contract(
    public val name: String,
    public val features: Int,
    public val edgeFeatures: Int,
    public val edgeWeight: Boolean,
    public val maxNodes: Int?,
    public val maxEdges: Int?,
    public val maxGraphs: Int?,
    public val maxDegree: Int?,
    public val sparseFeatures: Boolean,
    public val fixedGraph: FixedGraph?,
    public val outputs: List<OutputInfo>,
) {
    /** Refuses a graph of other sizes than the model was built for. What needs the prepared edges is checked while preparing. */
    public fun check(edges: EdgeList) {
        checkBound("nodes", edges.nodes, maxNodes)
        checkBound("graphs", edges.graphs, maxGraphs)
        require(!edgeWeight || edges.weight != null) { "weight: missing, but $name reads edge weights." }
    }

    /** Refuses more prepared edges, added self-loops included, than the model was built for. */
    public fun checkEdges(count: Int): Unit = checkBound("edges (self-loops included)", count, maxEdges)

    /** Refuses a node with more prepared edges than the model was built for. */
    public fun checkDegree(degree: Int): Unit = checkBound("edges at a node (self-loops included)", degree, maxDegree)

    /** Refuses features that are not those of a graph. */
    public fun check(nodes: Int, edges: Int, x: FloatArray, edgeAttr: FloatArray?) {
        require(x.size == nodes * features) { "x: ${x.size} values, expected $nodes nodes * $features features." }
        checkEdgeAttributes(edges, edgeAttr)
        requireFinite("x", x)
    }

    internal fun checkEdgeAttributes(edges: Int, edgeAttr: FloatArray?) {
        if (edgeFeatures == 0) return
        requireNotNull(edgeAttr) { "edgeAttr: missing, but $name reads $edgeFeatures attributes per edge." }
        require(edgeAttr.size == edges * edgeFeatures) {
            "edgeAttr: ${edgeAttr.size} values, expected $edges edges * $edgeFeatures attributes."
        }
        requireFinite("edgeAttr", edgeAttr)
    }

    private fun checkBound(what: String, count: Int, bound: Int?) {
        require(bound == null || count <= bound) { "$count $what, $name was built for at most $bound." }
    }
}

/** What a row of an output belongs to. */
public enum class Domain { NODE, EDGE, GRAPH }

/** One output. [addsSelfLoops]: its edges are those given without self-loops, and one self-loop per node. */
public class OutputInfo(
    public val name: String,
    public val domain: Domain,
    public val channels: Int,
    public val addsSelfLoops: Boolean,
) {
    /** Rows for a graph. */
    public fun rows(edges: EdgeList): Int =
        when (domain) {
            Domain.NODE -> edges.nodes
            Domain.GRAPH -> edges.graphs
            Domain.EDGE ->
                if (!addsSelfLoops) edges.size else edges.nodes + (0 until edges.size).count { edges.source[it] != edges.target[it] }
        }
}

/** Sizes of the graph that is part of a model; [rows] are those of each output. */
public class FixedGraph(public val nodes: Int, public val edges: Int, public val rows: List<Int>)
