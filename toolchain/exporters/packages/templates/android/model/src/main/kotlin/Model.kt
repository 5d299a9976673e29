package @package@

/**
 * The model as native code: its kernels are in this library, which needs no runtime beside it.
 *
 * ```
 * Model().use { model ->
 *     model.prepare(EdgeList(nodes = 3, source = intArrayOf(0, 1), target = intArrayOf(1, 2)))
 *     val scores = model.run(x)[0]
 * }
 * ```
 *
 * It holds native memory until [close]. The memory is that of the largest graph that the model was built for, allocated once.
 *
 * @throws OutOfMemoryError that memory cannot be had
 * @throws UnsatisfiedLinkError the application has no native library for the device's ABI
 */
public class Model : GraphModel {
    override val contract: Contract get() = CONTRACT

    private var handle = NativeLibrary.create()
    private var graph: Prepared? = null

    init {
        contract.fixedGraph?.let {
            accept(NativeLibrary.prepare(handle, 0, 0, null, null, null, null))
            graph = Prepared(it.nodes, it.edges, it.rows)
        }
    }

    /** @throws GraphRefused the model was not built for this graph */
    @Synchronized
    override fun prepare(edges: EdgeList) {
        checkOpen()
        check(contract.fixedGraph == null) { "The edges are part of ${contract.name}: call run(x) alone." }
        contract.check(edges)
        require(edges.nodes <= MAX_NODE_NUMBERS) { "${edges.nodes} nodes, a call takes at most $MAX_NODE_NUMBERS." }
        graph = null
        accept(
            NativeLibrary.prepare(
                handle, edges.nodes, edges.graphs, shorts(edges.source), shorts(edges.target), edges.graphOfNode?.let(::shorts),
                edges.weight,
            )
        )
        graph = Prepared(edges.nodes, edges.size, contract.outputs.map { it.rows(edges) })
    }

    @Synchronized
    override fun run(x: FloatArray, edgeAttr: FloatArray?): List<Output> {
        val graph = prepared()
        contract.check(graph.nodes, graph.edges, x, edgeAttr)
        return if (contract.sparseFeatures) run(graph, null, SparseFeatures.of(x, contract.features), edgeAttr) else run(graph, x, null, edgeAttr)
    }

    /** As [run] with rows of features, for models that take features of 0 and 1. */
    @Synchronized
    public fun run(x: SparseFeatures, edgeAttr: FloatArray? = null): List<Output> {
        val graph = prepared()
        check(contract.sparseFeatures) { "${contract.name} takes node features as rows of values: call run(x) with a FloatArray." }
        require(x.rows == graph.nodes) { "x: ${x.rows} rows, the prepared graph has ${graph.nodes} nodes." }
        x.requireColumns(contract.features)
        contract.checkEdgeAttributes(graph.edges, edgeAttr)
        return run(graph, null, x, edgeAttr)
    }

    /** Frees the native memory. Closing twice does nothing. */
    @Synchronized
    override fun close() {
        NativeLibrary.destroy(handle)
        handle = 0
        graph = null
    }

    private fun run(graph: Prepared, x: FloatArray?, ones: SparseFeatures?, edgeAttr: FloatArray?): List<Output> {
        val results = Array(contract.outputs.size) { FloatArray(graph.rows[it] * contract.outputs[it].channels) }
        accept(NativeLibrary.run(handle, x, ones?.pointer, ones?.columns?.let(::shorts), edgeAttr, results))
        return contract.outputs.mapIndexed { i, output -> Output(output.name, graph.rows[i], output.channels, results[i]) }
    }

    private fun prepared(): Prepared {
        checkOpen()
        return checkNotNull(graph) { "No graph is prepared: call prepare(edges) first." }
    }

    private fun checkOpen() = check(handle != 0L) { "The model is closed." }

    private fun accept(status: Int) {
        if (status != 0) throw GraphRefused(Status.entries.first { it.code == status })
    }

    private class Prepared(val nodes: Int, val edges: Int, val rows: List<Int>)

    private companion object {
        const val MAX_NODE_NUMBERS = 65_535

        /** Unsigned 16-bit numbers; the values were checked to be smaller than 65,536. */
        fun shorts(values: IntArray) = ShortArray(values.size) { values[it].toShort() }
    }
}

/** The native code's refusal of a graph; [status] says why. */
public class GraphRefused(public val status: Status) : IllegalArgumentException("The model refused the graph: ${status.meaning}.")
