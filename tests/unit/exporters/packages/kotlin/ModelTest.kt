package org.pocketgnn.gnn_tiny

import java.util.concurrent.Callable
import java.util.concurrent.Executors
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

/** What the Kotlin class promises beyond the recorded run: 6 nodes, 10 edges, 2 graphs, 4 in-edges of a node at most. */
class ModelTest {
    private inline fun <reified E : Throwable> refuses(message: String, noinline action: () -> Unit) {
        assertEquals(message, assertThrows(E::class.java, action).message)
    }

    @Test
    fun `a graph beyond the bounds is refused with its size`() = Model().use { model ->
        refuses<IllegalArgumentException>("7 nodes, tiny was built for at most 6.") {
            model.prepare(EdgeList(7, intArrayOf(0), intArrayOf(6)))
        }
    }

    @Test
    fun `a refusal of the native code carries its status`() = Model().use { model ->
        val edges = EdgeList(2, IntArray(5) { 0 }, IntArray(5) { 1 })
        val error = assertThrows(GraphRefused::class.java) { model.prepare(edges) }
        assertEquals(Status.DEGREE, error.status)
    }

    @Test
    fun `a refused graph leaves nothing prepared`() = Model().use { model ->
        RecordedRun.prepare(model)
        assertThrows(GraphRefused::class.java) { model.prepare(EdgeList(2, IntArray(5) { 0 }, IntArray(5) { 1 })) }
        refuses<IllegalStateException>("No graph is prepared: call prepare(edges) first.") { model.run(FloatArray(4), FloatArray(5)) }
    }

    @Test
    fun `edges that name no node are refused at their place`() =
        refuses<IllegalArgumentException>("target: 3 at 1, but there are 3 nodes: expected 0 to 2.") {
            EdgeList(3, intArrayOf(0, 1), intArrayOf(1, 3))
        }

    @Test
    fun `missing edge attributes are refused`() = Model().use { model ->
        RecordedRun.prepare(model)
        refuses<IllegalArgumentException>("edgeAttr: missing, but tiny reads 1 attributes per edge.") { model.run(RecordedRun.x) }
    }

    @Test
    fun `features that are not finite are refused`() = Model().use { model ->
        RecordedRun.prepare(model)
        val x = RecordedRun.x.copyOf().also { it[3] = Float.NaN }
        refuses<IllegalArgumentException>("x: NaN at 3; every value must be finite.") { model.run(x, RecordedRun.edgeAttr) }
    }

    @Test
    fun `places of ones are refused where rows are read`() = Model().use { model ->
        RecordedRun.prepare(model)
        refuses<IllegalStateException>("tiny takes node features as rows of values: call run(x) with a FloatArray.") {
            model.run(SparseFeatures(IntArray(6), IntArray(0)), RecordedRun.edgeAttr)
        }
    }

    @Test
    fun `ones are found row by row and give the same rows back`() {
        val x = floatArrayOf(0f, 1f, 1f, 0f, 0f, 0f)
        val ones = SparseFeatures.of(x, 2)
        assertEquals(listOf(0, 1, 2, 2), ones.pointer.toList())
        assertEquals(listOf(1, 0), ones.columns.toList())
        assertEquals(x.toList(), ones.dense(2).toList())
    }

    @Test
    fun `threads that share a model take turns`() = Model().use { model ->
        val pool = Executors.newFixedThreadPool(4)
        val outputs = pool.invokeAll(List(200) { Callable { model.run(RecordedRun.edges!!, RecordedRun.x, RecordedRun.edgeAttr) } })
        pool.shutdown()
        val recorded = RecordedRun.outputs().map { it.toList() }
        outputs.forEach { assertEquals(recorded, it.get().map { output -> output.values.toList() }) }
    }
}
