package @package@

/**
 * Node features that are 0 or 1, by the places of the ones: those of node i are `columns[pointer[i]]` to `columns[pointer[i + 1] - 1]`.
 *
 * @throws IllegalArgumentException places that do not lie in the columns
 */
public class SparseFeatures(public val pointer: IntArray, public val columns: IntArray) {
    /** Number of nodes. */
    public val rows: Int get() = pointer.size - 1

    init {
        require(pointer.isNotEmpty() && pointer[0] == 0) { "pointer: expected 0 as the first of nodes + 1 places." }
        for (i in 1 until pointer.size) {
            require(pointer[i] >= pointer[i - 1]) { "pointer: ${pointer[i]} at $i follows ${pointer[i - 1]}; it must not decrease." }
        }
        require(pointer.last() == columns.size) { "pointer: ends with ${pointer.last()}, but there are ${columns.size} columns." }
    }

    /** The same features as rows of [features] values. */
    public fun dense(features: Int): FloatArray {
        requireColumns(features)
        val x = FloatArray(rows * features)
        for (row in 0 until rows) {
            for (place in pointer[row] until pointer[row + 1]) x[row * features + columns[place]] = 1f
        }
        return x
    }

    internal fun requireColumns(features: Int) {
        for (i in columns.indices) {
            require(columns[i] in 0 until features) { "columns: ${columns[i]} at $i, the model takes $features features." }
        }
    }

    public companion object {
        /**
         * Finds the ones in rows of [features] values.
         *
         * @throws IllegalArgumentException a value that is neither 0 nor 1
         */
        @JvmStatic
        public fun of(x: FloatArray, features: Int): SparseFeatures {
            require(features > 0 && x.size % features == 0) { "x: ${x.size} values, expected rows of $features." }
            val columns = IntArray(x.count { it == 1f })
            val pointer = IntArray(x.size / features + 1)
            var count = 0
            for (i in x.indices) {
                require(x[i] == 0f || x[i] == 1f) { "x: ${x[i]} at $i, but this model takes features that are 0 or 1." }
                if (x[i] == 1f) columns[count++] = i % features
                if (i % features == features - 1) pointer[i / features + 1] = count
            }
            return SparseFeatures(pointer, columns)
        }
    }
}
