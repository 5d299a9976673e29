package org.pocketgnn.gnn_tiny

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** For each folder of a graph's arrays: computes every input of the ONNX file, and writes them and their shapes there. */
fun main(folders: Array<String>) = folders.map(::File).forEach(::dump)

private fun dump(folder: File) {
    val (nodes, graphs) = File(folder, "sizes").readText().split(" ").map(String::toInt)
    val edges =
        EdgeList(nodes, ints(folder, "source"), ints(folder, "target"), floats(folder, "edge_weight"), ints(folder, "batch"), graphs)
    val model =
        object : FeedModel(ONNX_FILE) {
            override fun execute(inputs: Map<String, Tensor>, rows: List<Int>) = error("nothing runs here")

            override fun close() = Unit
        }
    model.prepare(edges)
    val inputs = model.inputs(floats(folder, "x"), floats(folder, "edge_attr"))
    File(folder, "shapes").writeText(inputs.map { (name, it) -> "$name ${it.type} ${it.shape.joinToString(" ")}\n" }.joinToString(""))
    for ((name, tensor) in inputs) {
        val size = tensor.floats?.size ?: tensor.ints!!.size
        val bytes = ByteBuffer.allocate(4 * size).order(ByteOrder.LITTLE_ENDIAN)
        tensor.floats?.let { bytes.asFloatBuffer().put(it) } ?: bytes.asIntBuffer().put(tensor.ints)
        File(folder, "$name.out").writeBytes(bytes.array())
    }
}

private fun words(folder: File, name: String) =
    ByteBuffer.wrap(File(folder, name).readBytes()).order(ByteOrder.LITTLE_ENDIAN)

private fun floats(folder: File, name: String) = words(folder, name).asFloatBuffer().let { FloatArray(it.remaining()).also(it::get) }

private fun ints(folder: File, name: String) = words(folder, name).asIntBuffer().let { IntArray(it.remaining()).also(it::get) }
