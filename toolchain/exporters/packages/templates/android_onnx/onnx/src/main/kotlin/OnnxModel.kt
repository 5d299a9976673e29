package @package@

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import android.content.res.AssetManager
import java.nio.FloatBuffer
import java.nio.IntBuffer
import java.nio.LongBuffer

/**
 * The ONNX file of the model in ONNX Runtime, on the CPU.
 *
 * @param threads threads inside one operator
 * @throws ai.onnxruntime.OrtException ONNX Runtime cannot load the file
 */
public class OnnxModel(assets: AssetManager, threads: Int = 1) : FeedModel(ONNX_FILE) {
    // Telemetry is on by default in official builds, and off from here on for the whole process.
    private val environment = OrtEnvironment.getEnvironment().apply { setTelemetry(false) }
    private val session: OrtSession =
        OrtSession.SessionOptions().use { options ->
            options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.ALL_OPT)
            options.setExecutionMode(OrtSession.SessionOptions.ExecutionMode.SEQUENTIAL)
            options.setIntraOpNumThreads(threads)
            options.setInterOpNumThreads(1)
            environment.createSession(assets.open(file.asset).use { it.readBytes() }, options)
        }

    override fun execute(inputs: Map<String, Tensor>, rows: List<Int>): List<FloatArray> {
        val tensors = LinkedHashMap<String, OnnxTensor>()
        try {
            for ((name, tensor) in inputs) tensors[name] = onnxTensor(tensor)
            session.run(tensors, contract.outputs.map { it.name }.toSet()).use { result ->
                return contract.outputs.map { output ->
                    val buffer = (result.get(output.name).get() as OnnxTensor).floatBuffer
                    FloatArray(buffer.remaining()).also(buffer::get)
                }
            }
        } finally {
            tensors.values.forEach(OnnxTensor::close)
        }
    }

    @Synchronized
    override fun close(): Unit = session.close()

    private fun onnxTensor(tensor: Tensor): OnnxTensor =
        when (tensor.type) {
            ElementType.FLOAT32 -> OnnxTensor.createTensor(environment, FloatBuffer.wrap(tensor.floats!!), tensor.shape)
            ElementType.INT32 -> OnnxTensor.createTensor(environment, IntBuffer.wrap(tensor.ints!!), tensor.shape)
            ElementType.INT64 -> OnnxTensor.createTensor(environment, LongBuffer.wrap(tensor.ints!!.longs()), tensor.shape)
        }
}
