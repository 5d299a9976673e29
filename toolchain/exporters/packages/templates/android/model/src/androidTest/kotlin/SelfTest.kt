package @package@

import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** Repeats the recorded run on this device. */
class SelfTest {
    @Test
    fun everyOutputIsAsRecorded() = Model().use { model ->
        assertNull(RecordedRun.difference(model))
    }

    @Test
    fun aSecondRunGivesTheSame() = Model().use { model ->
        RecordedRun.repeat(model)
        assertNull(RecordedRun.difference(model))
    }

    @Test
    fun featuresOfAnotherSizeAreRefused() = Model().use { model ->
        RecordedRun.prepare(model)
        val error = assertThrows(IllegalArgumentException::class.java) { model.run(FloatArray(1 + RecordedRun.x.size), RecordedRun.edgeAttr) }
        assertTrue(error.message!!.startsWith("x: "))
    }

    @Test
    fun aClosedModelSaysSo() {
        val model = Model()
        model.close()
        model.close()
        val error = assertThrows(IllegalStateException::class.java) { model.run(RecordedRun.x, RecordedRun.edgeAttr) }
        assertEquals("The model is closed.", error.message)
    }
}
