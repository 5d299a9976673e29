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

    override fun execute(inputs: Map<String, Tensor>): List<FloatArray> {
        val tensors = inputs.values.toList()
        for (i in tensors.indices) interpreter.resizeInput(i, tensors[i].shape.map(Long::toInt).toIntArray())
        interpreter.allocateTensors()
        val results = contract.outputs.indices.associateWith { buffer(interpreter.getOutputTensor(it).numBytes()) }
        interpreter.runForMultipleInputsOutputs(tensors.map(::contents).toTypedArray<Any>(), results)
        return results.values.map { buffer ->
            buffer.rewind()
            val floats = buffer.asFloatBuffer()
            FloatArray(floats.remaining()).also(floats::get)
        }
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
