package @package@

import android.content.Context
import androidx.benchmark.junit4.BenchmarkRule
import androidx.benchmark.junit4.measureRepeated
import androidx.test.platform.app.InstrumentationRegistry
import org.junit.Assert.assertNull
import org.junit.Rule
import org.junit.Test
import org.junit.runner.RunWith
import org.junit.runners.Parameterized

/**
 * Times each file of the model on the recorded graph, once it gave the recorded outputs.
 *
 * The results are in `benchmark/build/outputs/connected_android_test_additional_output`, one JSON file per device: nanoseconds
 * and allocations, each with minimum, median and maximum.
 */
@RunWith(Parameterized::class)
class ModelBenchmark(private val format: String) {
    @get:Rule
    val benchmark = BenchmarkRule()

    private val context: Context = InstrumentationRegistry.getInstrumentation().targetContext

    /** Features to outputs, the graph being prepared. */
    @Test
    fun run() = MODELS.getValue(format)(context).use { model ->
        assertNull(RecordedRun.difference(model, format))
        benchmark.measureRepeated { RecordedRun.run(model) }
    }

    /** Edges and features to outputs. */
    @Test
    fun prepareAndRun() = MODELS.getValue(format)(context).use { model ->
        assertNull(RecordedRun.difference(model, format))
        benchmark.measureRepeated { RecordedRun.repeat(model) }
    }

    companion object {
        private val MODELS: Map<String, (Context) -> GraphModel> = mapOf(
@models@        )

        @JvmStatic
        @Parameterized.Parameters(name = "{0}")
        fun formats(): List<String> = MODELS.keys.toList()
    }
}
