package @package@

/** The functions of `model_jni.c`. They check nothing: [Model] does. */
internal object NativeLibrary {
    init {
        System.loadLibrary("@library@")
    }

    /** Allocates an arena; 0 with a pending [OutOfMemoryError]. */
    @JvmStatic
    external fun create(): Long

    @JvmStatic
    external fun destroy(handle: Long)

    /** Node numbers are unsigned. `source` is null where the edges are part of the model. */
    @JvmStatic
    external fun prepare(
        handle: Long, nodes: Int, graphs: Int, source: ShortArray?, target: ShortArray?, graphOfNode: ShortArray?, weight: FloatArray?,
    ): Int

    /** `results` has one array per output, of the rows that the prepared graph gives. */
    @JvmStatic
    external fun run(
        handle: Long, x: FloatArray?, pointer: IntArray?, columns: ShortArray?, edgeAttr: FloatArray?, results: Array<FloatArray>,
    ): Int
}
