package @package@

/**
 * A graph neural network that is ready to run, whatever executes it.
 *
 * [prepare] does what depends on the edges alone, once per graph; [run] computes the outputs for one set of features, any number
 * of times. Instances may be shared between threads, whose calls then take turns; to run in parallel, give each thread its own.
 */
public interface GraphModel : AutoCloseable {
    /** What the model takes and returns. */
    public val contract: Contract

    /**
     * Checks the edges and computes what the model needs of them.
     *
     * @throws IllegalArgumentException the model was not built for this graph
     * @throws IllegalStateException the edges are part of the model, or it is closed
     */
    public fun prepare(edges: EdgeList)

    /**
     * Computes every output for the prepared edges.
     *
     * @param x node features, row by row: `nodes * contract.features` values
     * @param edgeAttr edge attributes in the order of the edges as given: `edges * contract.edgeFeatures` values, or null where the
     *   model reads none
     * @throws IllegalArgumentException arrays of other sizes, or values that are not finite
     * @throws IllegalStateException nothing is prepared, or the model is closed
     */
    public fun run(x: FloatArray, edgeAttr: FloatArray? = null): List<Output>

    /** [prepare], then [run]. */
    public fun run(edges: EdgeList, x: FloatArray, edgeAttr: FloatArray? = null): List<Output> {
        prepare(edges)
        return run(x, edgeAttr)
    }
}

/** Values of one output, [rows] times [channels], row by row: a row per node, edge (in the model's order) or graph. */
public class Output(public val name: String, public val rows: Int, public val channels: Int, public val values: FloatArray) {
    /** Value of one channel of a row. */
    public operator fun get(row: Int, channel: Int): Float = values[row * channels + channel]

    /** A copy of one row. */
    public fun row(index: Int): FloatArray = values.copyOfRange(index * channels, (index + 1) * channels)
}
