/* The kernels that generated models call: here what all models need, then those on floats and on codes. Each is one function in a file of its
 * own name in runtimes/c/src.
 *
 * Conventions
 *  - x, y: rows one after another, `rows` of them. In node stages `first` is the number of the first row.
 *  - s8, s16, s32: codes of ARITHMETIC 1.1; f32: floats. A value is real = scale * (code - zero_point).
 *  - "Q31 row factor": int32 in [0, 2^31 - 1], one per node: round(2^31 / sqrt(degree)).
 *  - Every integer result equals toolchain.ir.reference_integer bit for bit, on every target and in every variant.
 *  - Nothing is written beyond the stated sizes; no kernel calls another kernel; none has state.
 */
#ifndef GNN_KERNELS_H
#define GNN_KERNELS_H

#include "gnn.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_ROWS 4u /* rows of a block: what generated models compute at a time */
#define GNN_NO_EDGE UINT32_MAX /* `origin` of a self-loop that the model added */

/* Weights lie on 4 bytes where the compiler can be told so: Arm kernels that load them by words require it. */
#if defined(__GNUC__)
#define GNN_ALIGNED __attribute__((aligned(4)))
#else
#define GNN_ALIGNED
#endif

/* A model may be compiled as one file, with -DGNN_ONE_FILE: then model.c includes its kernels, and they are its own. */
#if !defined(GNN_ONE_FILE)
#define GNN_KERNEL
#else
#define GNN_KERNEL static
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* it declares all kernels and defines those that it calls */
#endif
#endif

typedef enum gnn_type { GNN_F32 = 0, GNN_S8 = 1, GNN_S16 = 2, GNN_S32 = 3 } gnn_type;
typedef enum gnn_reduce { GNN_SUM = 0, GNN_MEAN = 1, GNN_MAX = 2, GNN_MIN = 3, GNN_PRODUCT = 4 } gnn_reduce;
typedef enum gnn_binary { GNN_ADD = 0, GNN_SUB = 1, GNN_MUL = 2, GNN_DIV = 3, GNN_MAXIMUM = 4 } gnn_binary;
typedef enum gnn_function {
    GNN_RELU = 0, GNN_LEAKY_RELU = 1, GNN_ELU = 2, GNN_GELU = 3, GNN_GELU_TANH = 4, GNN_SIGMOID = 5, GNN_TANH = 6,
    GNN_EXP = 7, GNN_LOG = 8, GNN_SQRT = 9, GNN_ABS = 10, GNN_STEP = 11 /* x > 0 */
} gnn_function;
typedef enum gnn_self_loops { GNN_KEEP = 0, GNN_REMAINING = 1, GNN_REPLACE = 2, GNN_REMOVE = 3 } gnn_self_loops;
typedef enum gnn_normalization {
    GNN_NONE = 0,
    GNN_SYMMETRIC = 1,     /* D^-1/2 A D^-1/2 with the in-degrees */
    GNN_SYMMETRIC_OUT = 2, /* the same with the out-degrees */
    GNN_DEGREE = 3         /* the factor of a row is its in-degree */
} gnn_normalization;

/* ---- the prepared graph ---------------------------------------------------------------------------------------- */

/* How a topology follows from the edges (toolchain.topology.TopologySpec). */
typedef struct gnn_topology_spec {
    gnn_self_loops self_loops;
    float loop_weight; /* weight of an added self-loop */
    gnn_normalization normalization;
    uint8_t weighted; /* edge_weight enters the coefficients */
    uint8_t reversed; /* messages flow from target to source */
    uint16_t relation; /* 0: of all edges; else of those whose edge_type is one less */
} gnn_topology_spec;

/* Prepared edges, sorted by target (stable; an added self-loop is the last of its row). NULL where a model needs none. */
typedef struct gnn_topology {
    uint32_t *row_pointer; /* [N + 1] the in-edges of node i are row_pointer[i] .. row_pointer[i + 1] */
    uint16_t *source;      /* [E'] */
    int32_t *row_factor;   /* [N] Q31 rsqrt of the number of in-edges; 0 for none */
    float *scale;          /* [N] 1 / sqrt(weighted in-degree), r and l of the normalization; 0 for degree 0. 1 if not symmetric */
    float *weight;         /* [E'] edge weight; loop_weight for added loops. Not `weighted`: with loops 1 for an edge, without the raw weight */
    uint32_t *origin;      /* [E'] position in the edges as given, or GNN_NO_EDGE */
} gnn_topology;

/* Head of a prepared arena. */
typedef struct gnn_state {
    uint32_t model; /* gnn_seal() of the model that prepared it and of the counts; 0: not prepared */
    uint32_t num_nodes, num_edges, num_graphs; /* as given */
} gnn_state;

/* Start of prepare(): checks arena, pointers and counts against the model's bounds, marks the arena as not prepared and stores the counts. */
GNN_KERNEL gnn_status gnn_prepare_start(const gnn_model *model, const gnn_graph *graph, void *arena, size_t arena_bytes);

/* End of prepare(): marks the arena as prepared by the model with this id. */
GNN_KERNEL void gnn_prepare_end(uint32_t id, void *arena);

/* Start of run(): checks that the arena holds a graph prepared by the model with this id, and that the features it reads are there. */
GNN_KERNEL gnn_status gnn_run_start(const gnn_model *model, uint32_t id, const gnn_features *features, const void *arena,
                                    size_t arena_bytes, const gnn_outputs *outputs);

/* Checks a graph and fills the arrays of `out` that are not NULL, except scale, in O(N + E) time and no further memory. num_nodes and num_graphs
 * were checked by the caller; indices, degrees, the edge count and weights are checked here. The row pointer and source are always there.
 * `out` needs `weight` if spec->weighted (of repeated self-loops under REMAINING the last one keeps its weight). */
GNN_KERNEL gnn_status gnn_prepare_topology(const gnn_topology_spec *spec, const gnn_graph *graph, uint32_t max_edges,
                                           uint32_t max_degree, const gnn_topology *out);

/* Fills topology->scale [N] of a topology that gnn_prepare_topology filled (with weight, if spec->weighted). A function of its own, since
 * integer models need no floating point to prepare a graph. GNN_ERROR_WEIGHT where weights sum to less than 0. */
GNN_KERNEL gnn_status gnn_prepare_scale(const gnn_topology_spec *spec, uint32_t num_nodes, const gnn_topology *topology);

/* Checks batch (sorted, below num_graphs) and writes graph_pointer [G + 1]: nodes of graph g are [g] .. [g + 1]. */
GNN_KERNEL gnn_status gnn_prepare_graphs(const gnn_graph *graph, uint32_t *graph_pointer);

/* Whether all of `count` floats are finite: GNN_OK or GNN_ERROR_VALUE. Looks at the bits, so it holds under -ffast-math. */
GNN_KERNEL gnn_status gnn_check_finite_f32(const float *x, size_t count);

/* Checks sparse features: pointers not decreasing from 0, indices below `features`, strictly increasing within a row (a position given
 * twice would count twice): GNN_OK or GNN_ERROR_VALUE. */
GNN_KERNEL gnn_status gnn_check_sparse(const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows, uint32_t features);

/* Targets of the edges first .. first + rows: fills target[rows]. `row` is where to start looking (any row at or before the
 * target of `first`); returns the row of the last edge, to be handed to the next call. rows >= 1. */
GNN_KERNEL uint32_t gnn_targets(const uint32_t *row_pointer, uint32_t row, uint32_t first, uint32_t rows, uint16_t *target);

/* ---- data movement --------------------------------------------------------------------------------------------- */

/* Copies `rows` rows of row_bytes; strides in bytes, each at least row_bytes. (Slice, Concat of equal types.) */
GNN_KERNEL void gnn_copy_rows(const void *x, size_t x_stride, size_t row_bytes, uint32_t rows, void *y, size_t y_stride);

/* y[r] = x[index[r]]: rows of row_bytes. (Gather.) */
GNN_KERNEL void gnn_gather(const void *x, const uint16_t *index, size_t row_bytes, uint32_t rows, void *y);

/* y[r] = x[graph of node first + r]. (Broadcast.) */
GNN_KERNEL void gnn_broadcast(const void *x, const uint32_t *graph_pointer, uint32_t num_graphs, size_t row_bytes, uint32_t first,
                              uint32_t rows, void *y);

/* Hands rows of an output to the caller: a copy into outputs->values[output], or a call of the sink. */
GNN_KERNEL void gnn_output(const gnn_outputs *outputs, uint32_t output, uint32_t first, uint32_t rows, uint32_t channels,
                           const float *x);

/* Rows of edge_attr in the order of the topology: y[r] = edge_attr[origin[first + r]]. Rows of added self-loops hold the mean over the
 * other in-edges of the node (0 where there are none): target[r] is the node. */
GNN_KERNEL void gnn_edge_attr_f32(const float *edge_attr, uint32_t channels, const gnn_topology *topology, const uint16_t *target,
                                  uint32_t first, uint32_t rows, float *y);

#ifdef __cplusplus
}
#endif

#include "gnn_kernels_f32.h"
#include "gnn_kernels_integer.h"
#include "gnn_kernels_packed.h"
#endif
