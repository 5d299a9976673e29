/* The operators Spmm (x, row_pointer, source) and WeightedSpmm (..., coefficient) of the domain pocketgnn.operators,
 * for onnxruntime.
 *
 * onnxruntime's wheels have no headers. What stands here of its C interface is its first version, 101 functions that never change
 * their places, and the part of a custom operator that version 16 knows; onnxruntime reads no field beyond the stated version.
 */
#include "spmm.h"

#define API_VERSION 16 /* the first in which operators answer with a status, so that bad indices are an error of the run */

typedef struct status status;
typedef void (*function)(void);
typedef const function *api_table;

typedef struct {
    const void *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} api_base;

/* Places of functions in the table. */
enum {
    CREATE_STATUS = 0, CREATE_DOMAIN = 26, ADD_OPERATOR = 27, ADD_DOMAIN = 28, TENSOR_DATA = 51, NUM_AXES = 61, AXES = 62,
    TENSOR_SHAPE = 65, NUM_INPUTS = 88, INPUT = 90, OUTPUT = 91, RELEASE_SHAPE = 99
};
enum { FLOAT32 = 1, INT64 = 7, REQUIRED = 0, DEFAULT_MEMORY = 0, INVALID_ARGUMENT = 2 };

typedef struct operator_type operator_type;
struct operator_type {
    uint32_t version;
    void *(*create)(const operator_type *, api_table, const void *info);
    const char *(*name)(const operator_type *);
    const char *(*provider)(const operator_type *);
    int (*input_type)(const operator_type *, size_t);
    size_t (*num_inputs)(const operator_type *);
    int (*output_type)(const operator_type *, size_t);
    size_t (*num_outputs)(const operator_type *);
    void (*compute)(void *kernel, void *context);
    void (*destroy)(void *kernel);
    int (*input_kind)(const operator_type *, size_t);
    int (*output_kind)(const operator_type *, size_t);
    int (*input_memory)(const operator_type *, size_t);
    int (*least_variadic_inputs)(const operator_type *);
    int (*are_variadic_inputs_alike)(const operator_type *);
    int (*least_variadic_outputs)(const operator_type *);
    int (*are_variadic_outputs_alike)(const operator_type *);
    status *(*create_checked)(const operator_type *, api_table, const void *info, void **kernel);
    status *(*compute_checked)(void *kernel, void *context);
    status *(*infer_shape)(const operator_type *, void *context);
    int (*first_version)(const operator_type *);
    int (*last_version)(const operator_type *);
};

#define CALL(api, place, type) ((type)(api)[place])
#define TRY(call)                \
    do {                         \
        status *failure = (call); \
        if (failure != NULL) {   \
            return failure;      \
        }                        \
    } while (0)

static status *refuse(api_table api, const char *reason)
{
    return CALL(api, CREATE_STATUS, status * (*)(int, const char *))(INVALID_ARGUMENT, reason);
}

/* One input: where its numbers are, and up to two axes; the second of a vector is 1. */
typedef struct {
    void *data;
    int64_t axes[2];
    size_t num_axes;
} tensor;

static status *read_input(api_table api, const void *context, size_t index, tensor *read)
{
    const void *value = NULL;
    void *shape = NULL;
    TRY(CALL(api, INPUT, status * (*)(const void *, size_t, const void **))(context, index, &value));
    if (value == NULL) {
        return refuse(api, "an input is missing");
    }
    TRY(CALL(api, TENSOR_DATA, status * (*)(const void *, void **))(value, &read->data));
    TRY(CALL(api, TENSOR_SHAPE, status * (*)(const void *, void **))(value, &shape));
    status *failure = CALL(api, NUM_AXES, status * (*)(const void *, size_t *))(shape, &read->num_axes);
    read->axes[1] = 1;
    if (failure == NULL && (read->num_axes < 1 || read->num_axes > 2)) {
        failure = refuse(api, "an input has neither one axis nor two");
    }
    if (failure == NULL) {
        failure = CALL(api, AXES, status * (*)(const void *, int64_t *, size_t))(shape, read->axes, read->num_axes);
    }
    CALL(api, RELEASE_SHAPE, void (*)(void *))(shape);
    return failure;
}

static status *compute(void *kernel, void *context)
{
    const api_table api = kernel;
    size_t num_inputs = 0;
    tensor x, row_pointer, source, coefficient = {NULL, {0, 0}, 0};
    TRY(CALL(api, NUM_INPUTS, status * (*)(const void *, size_t *))(context, &num_inputs));
    TRY(read_input(api, context, 0, &x));
    TRY(read_input(api, context, 1, &row_pointer));
    TRY(read_input(api, context, 2, &source));
    if (num_inputs > 3) {
        TRY(read_input(api, context, 3, &coefficient));
        if (coefficient.axes[0] * coefficient.axes[1] != source.axes[0]) {
            return refuse(api, "coefficient: not one for each source");
        }
    }
    if (x.num_axes != 2 || row_pointer.num_axes != 1 || source.num_axes != 1 || row_pointer.axes[0] < 1) {
        return refuse(api, "x has two axes, row_pointer and source have one, and row_pointer is not empty");
    }
    const spmm_operands operands = {
        x.data, row_pointer.data, source.data, num_inputs > 3 ? coefficient.data : NULL,
        x.axes[0], x.axes[1], row_pointer.axes[0] - 1, source.axes[0],
    };
    const char *fault = spmm_fault(&operands);
    if (fault != NULL) {
        return refuse(api, fault);
    }
    const int64_t axes[2] = {operands.targets, operands.channels};
    void *output = NULL, *y = NULL;
    TRY(CALL(api, OUTPUT, status * (*)(void *, size_t, const int64_t *, size_t, void **))(context, 0, axes, 2, &output));
    TRY(CALL(api, TENSOR_DATA, status * (*)(const void *, void **))(output, &y));
    spmm(&operands, y);
    return NULL;
}

/* --- what the operators say of themselves --- */

static const operator_type operators[2];

static const char *name(const operator_type *type) { return type == operators ? "Spmm" : "WeightedSpmm"; }
static const char *provider(const operator_type *type) { return (void)type, (const char *)NULL; } /* the CPU's */
static size_t num_inputs(const operator_type *type) { return type == operators ? 3 : 4; }
static size_t num_outputs(const operator_type *type) { return (void)type, (size_t)1; }
static int input_type(const operator_type *type, size_t i) { return (void)type, i == 1 || i == 2 ? INT64 : FLOAT32; }
static int output_type(const operator_type *type, size_t i) { return (void)type, (void)i, FLOAT32; }
static int kind(const operator_type *type, size_t i) { return (void)type, (void)i, REQUIRED; }
static int memory(const operator_type *type, size_t i) { return (void)type, (void)i, DEFAULT_MEMORY; }
static int none(const operator_type *type) { return (void)type, 0; }
static int version(const operator_type *type) { return (void)type, 1; }
static void destroy(void *kernel) { (void)kernel; }

/* A kernel holds nothing but the table of functions. */
static status *create(const operator_type *type, api_table api, const void *info, void **kernel)
{
    (void)type, (void)info;
    *kernel = (void *)api;
    return NULL;
}

#define OPERATOR                                                                                                        \
    {                                                                                                                   \
        API_VERSION, NULL, name, provider, input_type, num_inputs, output_type, num_outputs, NULL, destroy, kind, kind,  \
            memory, none, none, none, none, create, compute, NULL, version, version                                     \
    }
static const operator_type operators[2] = {OPERATOR, OPERATOR};

/* What onnxruntime looks for in a library of operators. */
#if defined(_WIN32)
__declspec(dllexport)
#else
__attribute__((visibility("default")))
#endif
status *RegisterCustomOps(void *options, const api_base *base)
{
    static void *domain; /* one for all sessions of a process: they share it, and it must outlive them */
    const api_table api = base->get_api(API_VERSION);
    if (api == NULL) {
        return NULL; /* an onnxruntime from before version 16: it will say that it does not know the operators */
    }
    if (domain == NULL) {
        void *created = NULL;
        TRY(CALL(api, CREATE_DOMAIN, status * (*)(const char *, void **))("pocketgnn.operators", &created));
        for (int i = 0; i < 2; ++i) {
            TRY(CALL(api, ADD_OPERATOR, status * (*)(void *, const operator_type *))(created, &operators[i]));
        }
        domain = created;
    }
    return CALL(api, ADD_DOMAIN, status * (*)(void *, void *))(options, domain);
}
