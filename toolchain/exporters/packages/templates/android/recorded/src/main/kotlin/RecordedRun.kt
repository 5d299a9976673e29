package @package@

import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs

/**
 * A graph, its features, and what each file of the model computed for it where the package was made.
 *
 * The arrays are files of this module's resources: little-endian float32 (`.f32`) and int32 (`.i32`), row by row.
 */
public object RecordedRun {
    /** Format of a model file → largest difference from the record, as a share of the output's largest magnitude; 0: every bit. */
    public val TOLERANCES: Map<String, Float> = mapOf(@tolerances@)

    /** The edges, or null where they are part of the model. */
    public val edges: EdgeList? by lazy {
        ints("source")?.let { EdgeList(@nodes@, it, ints("target")!!, floats("edge_weight"), ints("batch"), @graphs@) }
    }

    /** The features, where they are 0 or 1. */
    public val ones: SparseFeatures? by lazy { ints("x_pointer")?.let { SparseFeatures(it, ints("x_index")!!) } }

    public val x: FloatArray by lazy { floats("x") ?: ones!!.dense(@features@) }

    public val edgeAttr: FloatArray? by lazy { floats("edge_attr") }

    /** What the model file of a format computed, by output. */
    public fun outputs(format: String = "c"): List<FloatArray> =
        generateSequence(0) { it + 1 }.map { floats("$format/output_$it") }.takeWhile { it != null }.map { it!! }.toList()

    /** Prepares the recorded edges. */
    public fun prepare(model: GraphModel) {
        edges?.let(model::prepare)
    }

    /** Runs the recorded features on the prepared edges. */
    public fun run(model: GraphModel): List<Output> {
        val sparse = ones
        return if (model is Model && sparse != null) model.run(sparse, edgeAttr) else model.run(x, edgeAttr)
    }

    /** Prepares and runs. */
    public fun repeat(model: GraphModel): List<Output> {
        prepare(model)
        return run(model)
    }

    /** Repeats the run and says where an output differs from the record; null: every output agrees. */
    public fun difference(model: GraphModel, format: String = "c"): String? {
        val recorded = outputs(format)
        val given = repeat(model)
        if (given.size != recorded.size) return "${given.size} outputs, recorded are ${recorded.size}"
        return recorded.indices.firstNotNullOfOrNull { difference(given[it], recorded[it], TOLERANCES.getValue(format)) }
    }

    private fun difference(output: Output, recorded: FloatArray, share: Float): String? {
        if (output.values.size != recorded.size) return "${output.name}: ${output.values.size} values, recorded are ${recorded.size}"
        val tolerance = share * (recorded.maxOfOrNull(::abs) ?: 0f)
        val place = recorded.indices.firstOrNull { i ->
            val same = output.values[i].toRawBits() == recorded[i].toRawBits()
            !same && (share == 0f || !(abs(output.values[i] - recorded[i]) <= tolerance)) // the comparison is false for NaN
        }
        return place?.let { "${output.name}: ${output.values[it]} at $it, recorded is ${recorded[it]} (tolerance $tolerance)" }
    }

    private fun floats(name: String): FloatArray? =
        read("$name.f32")?.asFloatBuffer()?.let { buffer -> FloatArray(buffer.remaining()).also(buffer::get) }

    private fun ints(name: String): IntArray? =
        read("$name.i32")?.asIntBuffer()?.let { buffer -> IntArray(buffer.remaining()).also(buffer::get) }

    private fun read(name: String): ByteBuffer? =
        RecordedRun::class.java.getResourceAsStream("/@library@/$name")?.use { ByteBuffer.wrap(it.readBytes()).order(ByteOrder.LITTLE_ENDIAN) }
}
