package @package@

import android.content.res.AssetManager
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/**
 * The LiteRT file of the model in the interpreter of LiteRT, on the CPU.
 *
 * @param threads threads inside one operator
 * @throws IllegalArgumentException LiteRT cannot load the file
 */
public class LiteRtModel(assets: AssetManager, threads: Int = 1) : FeedModel(LITERT_FILE) {
    private val interpreter: Interpreter = Interpreter(read(assets), Interpreter.Options().setNumThreads(threads))

    private val inputNames = List(interpreter.inputTensorCount) { interpreter.getInputTensor(it).name() }
    private val outputNames = List(interpreter.outputTensorCount) { interpreter.getOutputTensor(it).name() }
    private var shapes: List<List<Long>> = emptyList()

    override fun execute(inputs: Map<String, Tensor>, rows: List<Int>): List<FloatArray> {
        val tensors = inputNames.map(inputs::getValue)
        resize(tensors)
        val results = contract.outputs.indices.map { buffer(4 * rows[it] * contract.outputs[it].channels) }
        val byPlace = contract.outputs.indices.associate { outputNames.indexOf(contract.outputs[it].name) to results[it] }
        interpreter.runForMultipleInputsOutputs(tensors.map(::contents).toTypedArray<Any>(), byPlace)
        return results.map { buffer ->
            buffer.rewind()
            val floats = buffer.asFloatBuffer()
            FloatArray(floats.remaining()).also(floats::get)
        }
    }

    /** Lays the file out for these sizes, which costs more than a run of a small graph. */
    private fun resize(tensors: List<Tensor>) {
        val given = tensors.map { it.shape.toList() }
        if (given == shapes) return
        for (i in tensors.indices) interpreter.resizeInput(i, given[i].map(Long::toInt).toIntArray())
        interpreter.allocateTensors()
        shapes = given
    }

    @Synchronized
    override fun close(): Unit = interpreter.close()

    private fun read(assets: AssetManager): ByteBuffer {
        val bytes = assets.open(file.asset).use { it.readBytes() }
        return buffer(bytes.size).put(bytes).apply { rewind() }
    }

    private fun contents(tensor: Tensor): ByteBuffer =
        when (tensor.type) {
            ElementType.FLOAT32 -> buffer(4 * tensor.floats!!.size).apply { asFloatBuffer().put(tensor.floats) }
            ElementType.INT32 -> buffer(4 * tensor.ints!!.size).apply { asIntBuffer().put(tensor.ints) }
            ElementType.INT64 -> buffer(8 * tensor.ints!!.size).apply { asLongBuffer().put(tensor.ints.longs()) }
        }

    private fun buffer(bytes: Int): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
}
