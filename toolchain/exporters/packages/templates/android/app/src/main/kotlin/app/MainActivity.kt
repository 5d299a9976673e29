package @package@.app

import android.app.Activity
import android.os.Bundle
import android.widget.TextView
import kotlin.concurrent.thread
import @package@.GraphModel
import @package@.Model
import @package@.RecordedRun

/** Runs the recorded graph away from the main thread, and shows what the model says. */
class MainActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val view = TextView(this)
        setContentView(view)
        thread(name = "@library@") {
            val text = Model().use(::report)
            runOnUiThread { view.text = text }
        }
    }

    private fun report(model: GraphModel): String {
        val difference = RecordedRun.difference(model) ?: "every output is as recorded"
        val start = System.nanoTime()
        val outputs = RecordedRun.repeat(model)
        val microseconds = (System.nanoTime() - start) / 1_000
        val rows = outputs.joinToString("\n") { "${it.name}, row 0: ${it.row(0).joinToString()}" }
        return "@library@: $difference\nprepare and run: $microseconds µs\n$rows"
    }
}
