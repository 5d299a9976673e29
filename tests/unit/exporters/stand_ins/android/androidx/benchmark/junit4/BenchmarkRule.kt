package androidx.benchmark.junit4

import org.junit.rules.TestRule
import org.junit.runner.Description
import org.junit.runners.model.Statement

class BenchmarkRule : TestRule {
    override fun apply(base: Statement, description: Description): Statement = base

    inner class Scope
}

inline fun BenchmarkRule.measureRepeated(crossinline block: BenchmarkRule.Scope.() -> Unit) = Scope().block()
