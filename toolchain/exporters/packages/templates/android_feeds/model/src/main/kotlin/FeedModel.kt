package @package@

/**
 * A model file of another runtime: what it takes and returns, as its manifest states it.
 *
 * @property asset path of the file among the application's assets
 * @property sha256 digest of the file, as hexadecimal digits
 */
public class ModelFile(
    public val asset: String,
    public val sha256: String,
    public val contract: Contract,
    public val topologies: List<TopologySpec>,
    public val feeds: List<Feed>,
)

/** The graph side of a model file: its inputs are computed from the edges once per graph, and from the features at each run. */
public abstract class FeedModel(protected val file: ModelFile) : GraphModel {
    final override val contract: Contract get() = file.contract

    private var graph: PreparedGraph? = null
    private var ofEdges: Map<String, Tensor> = emptyMap()

    @Synchronized
    override fun prepare(edges: EdgeList) {
        contract.check(edges)
        val prepared = PreparedGraph(edges, file.topologies)
        contract.checkEdges(prepared.topologies.maxOfOrNull { it.edges } ?: 0)
        for (feed in file.feeds) contract.checkDegree(prepared.degree(feed) ?: 0)
        ofEdges = feeds(edges).filterNot(::isOfFeatures).associate { it.name to prepared.tensor(it, null, null, contract.edgeFeatures) }
        graph = prepared
    }

    @Synchronized
    final override fun run(x: FloatArray, edgeAttr: FloatArray?): List<Output> {
        val inputs = inputs(x, edgeAttr)
        val rows = contract.outputs.map { it.rows(graph!!.edges) }
        val results = execute(inputs, rows)
        return contract.outputs.mapIndexed { i, output ->
            check(results[i].size == rows[i] * output.channels) {
                "${output.name}: ${results[i].size} values, expected ${rows[i]} rows of ${output.channels}."
            }
            Output(output.name, rows[i], output.channels, results[i])
        }
    }

    /** Every array that the file takes for the prepared edges and these features, by name, in the file's order. */
    @Synchronized
    public fun inputs(x: FloatArray, edgeAttr: FloatArray? = null): Map<String, Tensor> {
        val prepared = checkNotNull(graph) { "No graph is prepared: call prepare(edges) first." }
        contract.check(prepared.edges.nodes, prepared.edges.size, x, edgeAttr)
        return feeds(prepared.edges).associate {
            it.name to (ofEdges[it.name] ?: prepared.tensor(it, x, edgeAttr, contract.edgeFeatures))
        }
    }

    /** Runs the file on its inputs; the results are in the order of the contract's outputs, of these [rows]. */
    protected abstract fun execute(inputs: Map<String, Tensor>, rows: List<Int>): List<FloatArray>

    private fun feeds(edges: EdgeList) = file.feeds.filter { it.isFor(edges.nodes) }

    private fun isOfFeatures(feed: Feed) = feed.kind == FeedKind.X || feed.kind == FeedKind.EDGE_ATTR
}
