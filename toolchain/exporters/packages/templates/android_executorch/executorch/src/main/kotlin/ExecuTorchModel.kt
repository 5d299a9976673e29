package @package@

import android.content.Context
import java.io.File
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as ExecuTorchTensor

/**
 * The ExecuTorch program of the model: XNNPACK and the portable kernels.
 *
 * ExecuTorch opens files only, so the program is copied out of the assets when an instance finds no copy of it. Its Android library
 * has builds for arm64-v8a and x86_64 alone. Of version 1.4.0 it is reported that the arm64 one ends with SIGILL on processors without
 * the atomics of Armv8.1 (Cortex-A53, Cortex-A73).
 *
 * @param threads size of ExecuTorch's thread pool, of which a process has one
 * @throws RuntimeException ExecuTorch cannot load the program
 */
public class ExecuTorchModel(context: Context, threads: Int = 1) : FeedModel(EXECUTORCH_FILE) {
    private val module: Module = Module.load(copy(context).path, Module.LOAD_MODE_MMAP, threads)

    /** @throws IllegalArgumentException also for a graph without edges, where an output has a row per edge: ExecuTorch needs one */
    override fun prepare(edges: EdgeList) {
        require(edges.size > 0 || contract.outputs.none { it.domain == Domain.EDGE }) { "edges: none, but the model returns values of edges." }
        super.prepare(edges)
    }

    override fun execute(inputs: Map<String, Tensor>, rows: List<Int>): List<FloatArray> {
        val values = inputs.values.map { EValue.from(executorchTensor(it)) }.toTypedArray()
        return module.forward(*values).map { it.toTensor().dataAsFloatArray }
    }

    @Synchronized
    override fun close(): Unit = module.destroy()

    private fun executorchTensor(tensor: Tensor): ExecuTorchTensor =
        when (tensor.type) {
            ElementType.FLOAT32 -> ExecuTorchTensor.fromBlob(tensor.floats!!, tensor.shape)
            ElementType.INT32 -> ExecuTorchTensor.fromBlob(tensor.ints!!, tensor.shape)
            ElementType.INT64 -> ExecuTorchTensor.fromBlob(tensor.ints!!.longs(), tensor.shape)
        }

    /** The program as a file, which appears whole or not at all. Its name has its digest, so that an update is a new file. */
    private fun copy(context: Context): File {
        val target = File(context.noBackupFilesDir, "@library@-${file.sha256}.pte")
        if (!target.exists()) {
            val part = File.createTempFile("@library@-", ".part", context.noBackupFilesDir)
            context.assets.open(file.asset).use { from -> part.outputStream().use { from.copyTo(it) } }
            check(part.renameTo(target)) { "$target: cannot be written." }
        }
        return target
    }
}
