/* The model for the class NativeLibrary: arrays of the Java heap in, arrays of the Java heap out.
 *
 * A handle is the address of an arena. NativeLibrary's only caller checks sizes and lets one thread at a time in.
 */
#include <jni.h>
#include <stdint.h>
#include <stdlib.h>

#include <@library@.h>

#define CLASS_NAME "@class_path@/NativeLibrary"

static void *arena_of(jlong handle)
{
    return (void *)(uintptr_t)handle;
}

/* Whether an array is to be read: no function may be called once an exception is pending. */
static int is_given(JNIEnv *env, jarray array)
{
    return array != NULL && !(*env)->ExceptionCheck(env);
}

static const uint16_t *shorts(JNIEnv *env, jshortArray array)
{
    return is_given(env, array) ? (const uint16_t *)(*env)->GetShortArrayElements(env, array, NULL) : NULL;
}

static void release_shorts(JNIEnv *env, jshortArray array, const uint16_t *elements)
{
    if (elements != NULL) {
        (*env)->ReleaseShortArrayElements(env, array, (jshort *)(uintptr_t)elements, JNI_ABORT);
    }
}

static const uint32_t *ints(JNIEnv *env, jintArray array)
{
    return is_given(env, array) ? (const uint32_t *)(*env)->GetIntArrayElements(env, array, NULL) : NULL;
}

static void release_ints(JNIEnv *env, jintArray array, const uint32_t *elements)
{
    if (elements != NULL) {
        (*env)->ReleaseIntArrayElements(env, array, (jint *)(uintptr_t)elements, JNI_ABORT);
    }
}

static const float *floats(JNIEnv *env, jfloatArray array)
{
    return is_given(env, array) ? (*env)->GetFloatArrayElements(env, array, NULL) : NULL;
}

static void release_floats(JNIEnv *env, jfloatArray array, const float *elements)
{
    if (elements != NULL) {
        (*env)->ReleaseFloatArrayElements(env, array, (jfloat *)(uintptr_t)elements, JNI_ABORT);
    }
}

static jlong create(JNIEnv *env, jclass type)
{
    void *const arena = calloc(1, @library@_required_bytes());
    (void)type;
    if (arena == NULL) {
        const jclass error = (*env)->FindClass(env, "java/lang/OutOfMemoryError");
        if (error != NULL) {
            (*env)->ThrowNew(env, error, "no memory for the arena of @library@");
        }
    }
    return (jlong)(uintptr_t)arena;
}

static void destroy(JNIEnv *env, jclass type, jlong handle)
{
    (void)env;
    (void)type;
    free(arena_of(handle));
}

/* Edges that are part of the model: source is NULL. */
static jint prepare(JNIEnv *env, jclass type, jlong handle, jint nodes, jint graphs, jshortArray source, jshortArray target,
                    jshortArray batch, jfloatArray weight)
{
    gnn_status status = GNN_ERROR_NULL; /* where no memory was left for a copy an exception is pending, and goes first */
    gnn_graph graph;
    (void)type;
    if (source == NULL) {
        return (jint)@library@_prepare(NULL, arena_of(handle), @library@_required_bytes());
    }
    graph.num_nodes = (uint32_t)nodes;
    graph.num_edges = (uint32_t)(*env)->GetArrayLength(env, source);
    graph.num_graphs = (uint32_t)graphs;
    graph.source = shorts(env, source);
    graph.target = shorts(env, target);
    graph.batch = shorts(env, batch);
    graph.edge_weight = floats(env, weight);
    graph.edge_type = NULL;
    if (!(*env)->ExceptionCheck(env)) {
        status = @library@_prepare(&graph, arena_of(handle), @library@_required_bytes());
    }
    release_floats(env, weight, graph.edge_weight);
    release_shorts(env, batch, graph.batch);
    release_shorts(env, target, graph.target);
    release_shorts(env, source, graph.source);
    return (jint)status;
}

static jint run(JNIEnv *env, jclass type, jlong handle, jfloatArray x, jintArray x_pointer, jshortArray x_index,
                jfloatArray edge_attr, jobjectArray results)
{
    gnn_status status = GNN_ERROR_NULL;
    jfloatArray arrays[@macro@_OUTPUTS];
    float *values[@macro@_OUTPUTS];
    const gnn_outputs outputs = {values, NULL, NULL};
    gnn_features features;
    uint32_t i;
    (void)type;
    for (i = 0; i < @macro@_OUTPUTS; i++) {
        arrays[i] = is_given(env, results) ? (jfloatArray)(*env)->GetObjectArrayElement(env, results, (jsize)i) : NULL;
        values[i] = is_given(env, arrays[i]) ? (*env)->GetFloatArrayElements(env, arrays[i], NULL) : NULL;
    }
    features.x = floats(env, x);
    features.x_pointer = ints(env, x_pointer);
    features.x_index = shorts(env, x_index);
    features.edge_attr = floats(env, edge_attr);
    if (!(*env)->ExceptionCheck(env)) {
        status = @library@_run(&features, arena_of(handle), @library@_required_bytes(), &outputs);
    }
    release_floats(env, edge_attr, features.edge_attr);
    release_shorts(env, x_index, features.x_index);
    release_ints(env, x_pointer, features.x_pointer);
    release_floats(env, x, features.x);
    for (i = 0; i < @macro@_OUTPUTS; i++) {
        if (values[i] != NULL) {
            (*env)->ReleaseFloatArrayElements(env, arrays[i], values[i], 0);
        }
    }
    return (jint)status;
}

/* The only symbol that the library exports. */
JNIEXPORT jint JNI_OnLoad(JavaVM *vm, void *reserved)
{
    static const JNINativeMethod methods[] = {
        {(char *)"create", (char *)"()J", (void *)(uintptr_t)create},
        {(char *)"destroy", (char *)"(J)V", (void *)(uintptr_t)destroy},
        {(char *)"prepare", (char *)"(JII[S[S[S[F)I", (void *)(uintptr_t)prepare},
        {(char *)"run", (char *)"(J[F[I[S[F[[F)I", (void *)(uintptr_t)run},
    };
    JNIEnv *env = NULL;
    jclass type;
    (void)reserved;
    if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_6) != JNI_OK) {
        return JNI_ERR;
    }
    type = (*env)->FindClass(env, CLASS_NAME);
    if (type == NULL || (*env)->RegisterNatives(env, type, methods, (jint)(sizeof methods / sizeof methods[0])) != JNI_OK) {
        return JNI_ERR;
    }
    return JNI_VERSION_1_6;
}
