package @package@

import kotlin.math.sqrt

/** What happens to edges from a node to itself: they stay, each node gets one unless it has one, all are replaced by new ones, or dropped. */
public enum class SelfLoops { KEEP, REMAINING, REPLACE, REMOVE }

/** Factors of the nodes: none, D^-1/2 on both sides with D the weighted in-degree or out-degree, or the number of in-edges as target. */
public enum class Normalization { NONE, SYMMETRIC, SYMMETRIC_OUT, DEGREE }

/**
 * How a topology follows from the edges as given.
 *
 * @property weighted edge weights enter the coefficients
 * @property loopWeight weight of an added self-loop
 * @property meanLoopAttributes the attributes of an added self-loop are the mean over the node's in-edges
 * @property reversed messages flow from target to source
 */
public class TopologySpec(
    public val selfLoops: SelfLoops,
    public val normalization: Normalization,
    public val weighted: Boolean,
    public val loopWeight: Float,
    public val meanLoopAttributes: Boolean,
    public val reversed: Boolean,
)

/**
 * Edges that a layer aggregates over, sorted by target; edges with one target keep their order, added self-loops come last.
 *
 * @property rowPointer the in-edges of node i are `rowPointer[i]` to `rowPointer[i + 1] - 1`
 * @property weight null: every edge weighs 1
 * @property sourceScale factor of each node as source, or null where all are 1
 * @property targetScale the same as target
 * @property origin place of each edge among those given, -1 for an added self-loop
 */
public class Topology private constructor(
    public val nodes: Int,
    public val source: IntArray,
    public val target: IntArray,
    public val rowPointer: IntArray,
    public val weight: FloatArray?,
    public val sourceScale: FloatArray?,
    public val targetScale: FloatArray?,
    public val origin: IntArray,
    private val meanLoopAttributes: Boolean,
) {
    public val edges: Int get() = source.size

    public fun inDegree(node: Int): Int = rowPointer[node + 1] - rowPointer[node]

    /** Rows of `width` values per edge as given, in the order of these edges; added self-loops get theirs. */
    public fun edgeValues(values: FloatArray, width: Int): FloatArray {
        val rows = FloatArray(edges * width)
        for (edge in 0 until edges) {
            if (origin[edge] >= 0) values.copyInto(rows, edge * width, origin[edge] * width, (origin[edge] + 1) * width)
        }
        if (origin.none { it < 0 }) return rows
        require(meanLoopAttributes) { "edgeAttr: the model adds self-loops, which have no attributes." }
        for (loop in 0 until edges) {
            if (origin[loop] >= 0) continue
            val node = target[loop]
            var count = 0
            val sums = FloatArray(width)
            for (edge in rowPointer[node] until rowPointer[node + 1]) {
                if (origin[edge] < 0) continue
                count++
                for (i in 0 until width) sums[i] += rows[edge * width + i]
            }
            for (i in 0 until width) rows[loop * width + i] = sums[i] / maxOf(count, 1)
        }
        return rows
    }

    public companion object {
        /** @throws IllegalArgumentException weights are missing, or sum to less than zero where they are normalized */
        @JvmStatic
        public fun of(spec: TopologySpec, edges: EdgeList): Topology {
            val source = if (spec.reversed) edges.target else edges.source
            val target = if (spec.reversed) edges.source else edges.target
            val given = if (spec.weighted) requireNotNull(edges.weight) { "weight: missing, but the model reads edge weights." } else null
            val dropsLoops = spec.selfLoops != SelfLoops.KEEP
            val addsLoops = dropsLoops && spec.selfLoops != SelfLoops.REMOVE
            val isWeighted = given != null || (addsLoops && spec.loopWeight != 1f)
            val kept = if (dropsLoops) IntArray(edges.size) { it }.filter { source[it] != target[it] }.toIntArray() else IntArray(edges.size) { it }
            val loopWeight = FloatArray(if (addsLoops) edges.nodes else 0) { spec.loopWeight }
            if (spec.selfLoops == SelfLoops.REMAINING && given != null) {
                for (edge in 0 until edges.size) if (source[edge] == target[edge]) loopWeight[target[edge]] = given[edge]
            }

            val rowPointer = IntArray(edges.nodes + 1)
            for (edge in kept) rowPointer[target[edge] + 1]++
            for (node in 0 until edges.nodes) rowPointer[node + 1] += rowPointer[node] + if (addsLoops) 1 else 0
            val count = rowPointer[edges.nodes]
            val sortedSource = IntArray(count)
            val sortedTarget = IntArray(count)
            val origin = IntArray(count)
            val weight = if (isWeighted) FloatArray(count) else null
            val next = rowPointer.copyOf()
            fun put(from: Int, to: Int, place: Int, value: Float) {
                val row = next[to]++
                sortedSource[row] = from
                sortedTarget[row] = to
                origin[row] = place
                weight?.set(row, value)
            }
            for (edge in kept) put(source[edge], target[edge], edge, given?.get(edge) ?: 1f)
            for (node in loopWeight.indices) put(node, node, -1, loopWeight[node])
            val symmetric = when (spec.normalization) {
                Normalization.SYMMETRIC -> inverseRoots(edges.nodes, sortedTarget, weight)
                Normalization.SYMMETRIC_OUT -> inverseRoots(edges.nodes, sortedSource, weight)
                else -> null
            }
            val isDegree = spec.normalization == Normalization.DEGREE
            val degree = if (isDegree) FloatArray(edges.nodes) { (rowPointer[it + 1] - rowPointer[it]).toFloat() } else null
            return Topology(
                edges.nodes, sortedSource, sortedTarget, rowPointer, weight, symmetric, symmetric ?: degree, origin, spec.meanLoopAttributes,
            )
        }

        /** 1 over the root of the weights at each node; `ends` is the node of each edge. */
        private fun inverseRoots(nodes: Int, ends: IntArray, weight: FloatArray?): FloatArray {
            val sums = DoubleArray(nodes)
            for (edge in ends.indices) sums[ends[edge]] += weight?.get(edge)?.toDouble() ?: 1.0
            return FloatArray(nodes) { node ->
                val degree = sums[node].toFloat()
                require(degree >= 0f) { "weight: the weights into node $node sum to $degree, which cannot be normalized." }
                if (degree == 0f) 0f else 1f / sqrt(degree)
            }
        }
    }
}
