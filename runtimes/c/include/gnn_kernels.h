/* The kernels that generated models call. Each is one function in a file of its own name in runtimes/c/src.
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

typedef enum gnn_type { GNN_F32 = 0, GNN_S8 = 1, GNN_S16 = 2, GNN_S32 = 3 } gnn_type;
typedef enum gnn_reduce { GNN_SUM = 0, GNN_MEAN = 1, GNN_MAX = 2, GNN_MIN = 3 } gnn_reduce;
typedef enum gnn_binary { GNN_ADD = 0, GNN_SUB = 1, GNN_MUL = 2, GNN_DIV = 3, GNN_MAXIMUM = 4 } gnn_binary;
typedef enum gnn_function {
    GNN_RELU = 0, GNN_LEAKY_RELU = 1, GNN_ELU = 2, GNN_GELU = 3, GNN_GELU_TANH = 4, GNN_SIGMOID = 5, GNN_TANH = 6
} gnn_function;
typedef enum gnn_self_loops { GNN_KEEP = 0, GNN_REMAINING = 1, GNN_REPLACE = 2 } gnn_self_loops;

/* ---- the prepared graph ---------------------------------------------------------------------------------------- */

/* How a topology follows from the edges (toolchain.topology.TopologySpec). */
typedef struct gnn_topology_spec {
    gnn_self_loops self_loops;
    float loop_weight; /* weight of an added self-loop */
    uint8_t symmetric; /* D^-1/2 A D^-1/2 */
    uint8_t weighted;  /* edge_weight enters the coefficients */
    uint8_t reversed;  /* messages flow from target to source */
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
gnn_status gnn_prepare_start(const gnn_model *model, const gnn_graph *graph, void *arena, size_t arena_bytes);

/* End of prepare(): marks the arena as prepared by the model with this id. */
void gnn_prepare_end(uint32_t id, void *arena);

/* Start of run(): checks that the arena holds a graph prepared by the model with this id, and that the features it reads are there. */
gnn_status gnn_run_start(const gnn_model *model, uint32_t id, const gnn_features *features, const void *arena, size_t arena_bytes,
                         const gnn_outputs *outputs);

/* Checks a graph and fills the arrays of `out` that are not NULL, except scale, in O(N + E) time and no further memory. num_nodes and num_graphs
 * were checked by the caller; indices, degrees, the edge count and weights are checked here. The row pointer and source are always there.
 * `out` needs `weight` if spec->weighted (of repeated self-loops under REMAINING the last one keeps its weight). */
gnn_status gnn_prepare_topology(const gnn_topology_spec *spec, const gnn_graph *graph, uint32_t max_edges, uint32_t max_degree,
                                const gnn_topology *out);

/* Fills topology->scale [N] of a topology that gnn_prepare_topology filled (with weight, if spec->weighted). A function of its own, since
 * integer models need no floating point to prepare a graph. GNN_ERROR_WEIGHT where weights sum to less than 0. */
gnn_status gnn_prepare_scale(const gnn_topology_spec *spec, uint32_t num_nodes, const gnn_topology *topology);

/* Checks batch (sorted, below num_graphs) and writes graph_pointer [G + 1]: nodes of graph g are [g] .. [g + 1]. */
gnn_status gnn_prepare_graphs(const gnn_graph *graph, uint32_t *graph_pointer);

/* Whether all of `count` floats are finite: GNN_OK or GNN_ERROR_VALUE. Looks at the bits, so it holds under -ffast-math. */
gnn_status gnn_check_finite_f32(const float *x, size_t count);

/* Checks sparse features: pointers not decreasing from 0, indices below `features`, strictly increasing within a row (a position given
 * twice would count twice): GNN_OK or GNN_ERROR_VALUE. */
gnn_status gnn_check_sparse(const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows, uint32_t features);

/* Targets of the edges first .. first + rows: fills target[rows]. `row` is where to start looking (any row at or before the
 * target of `first`); returns the row of the last edge, to be handed to the next call. rows >= 1. */
uint32_t gnn_targets(const uint32_t *row_pointer, uint32_t row, uint32_t first, uint32_t rows, uint16_t *target);

/* ---- data movement --------------------------------------------------------------------------------------------- */

/* Copies `rows` rows of row_bytes; strides in bytes, each at least row_bytes. (Slice, Concat of equal types.) */
void gnn_copy_rows(const void *x, size_t x_stride, size_t row_bytes, uint32_t rows, void *y, size_t y_stride);

/* y[r] = x[index[r]]: rows of row_bytes. (Gather.) */
void gnn_gather(const void *x, const uint16_t *index, size_t row_bytes, uint32_t rows, void *y);

/* y[r] = x[graph of node first + r]. (Broadcast.) */
void gnn_broadcast(const void *x, const uint32_t *graph_pointer, uint32_t num_graphs, size_t row_bytes, uint32_t first,
                   uint32_t rows, void *y);

/* Hands rows of an output to the caller: a copy into outputs->values[output], or a call of the sink. */
void gnn_output(const gnn_outputs *outputs, uint32_t output, uint32_t first, uint32_t rows, uint32_t channels, const float *x);

/* Rows of edge_attr in the order of the topology: y[r] = edge_attr[origin[first + r]]. Rows of added self-loops hold the mean over the
 * other in-edges of the node (0 where there are none): target[r] is the node. */
void gnn_edge_attr_f32(const float *edge_attr, uint32_t channels, const gnn_topology *topology, const uint16_t *target,
                       uint32_t first, uint32_t rows, float *y);

/* ---- float ----------------------------------------------------------------------------------------------------- */

/* y = relu?(x W^T + b) * scale[r]. weight is stored transposed, [in][out]; bias, scale may be NULL. Sums run over k in order. */
typedef struct gnn_linear_f32_layer {
    const float *weight; /* [in][out] */
    const float *bias;   /* [out] or NULL */
    uint16_t in, out;
    uint8_t relu;
} gnn_linear_f32_layer;
void gnn_linear_f32(const gnn_linear_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y);

/* The same on sparse binary features of the rows first .. first + rows. */
void gnn_linear_sparse_f32(const gnn_linear_f32_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first,
                           uint32_t rows, const float *scale, float *y);

/* Smallest and largest of `count` floats and 0: range[0] <= 0 <= range[1]. */
void gnn_range_f32(const float *x, size_t count, float range[2]);

/* Dynamic int8 Linear (reference_integer.dynamic_linear): x is quantized to uint8 over `range`, summed in int32, scaled, then bias, ReLU
 * and the optional row scale in float. */
typedef struct gnn_linear_dynamic_layer {
    const int8_t *weight; /* [out][in] */
    const float *weight_scale; /* [out] */
    const float *bias;
    uint16_t in, out;
    uint8_t relu;
} gnn_linear_dynamic_layer;
void gnn_linear_dynamic(const gnn_linear_dynamic_layer *layer, const float range[2], const float *x, uint32_t rows,
                        const float *scale, float *y);

/* y_i = relu?( self_scale x_i + l_i reduce_j ( w_ij h_ij r_j x_j ) + bias ) * out_scale_i for the rows first .. first + rows. x is the whole node array.
 * w = topology->weight, r = l = topology->scale (each 1 where NULL); h = edge_weight, [E'][heads]. source_scaled: r is in x already.
 * out_scale [rows] or NULL. */
typedef struct gnn_propagate_f32_op {
    uint16_t channels, heads; /* heads 0: no h */
    gnn_reduce reduce;
    uint8_t relu, source_scaled;
    const float *self_scale; /* [1] or NULL */
    const float *bias;       /* [channels] or NULL */
} gnn_propagate_f32_op;
void gnn_propagate_f32(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *x, const float *edge_weight,
                       const float *out_scale, uint32_t first, uint32_t rows, float *y);

/* Aggregate in three steps: start on the whole accumulator [N, C], add blocks of edge rows, finish on the whole accumulator (mean; empty rows to 0).
 * index[r] is the node of edge row r. counts [N] is needed for GNN_MEAN, else NULL; it is filled by start and add. error [N, C] holds what
 * rounding took from sums and means; NULL where no node has more than some 500 edges (equal terms all round the same way: 5,000 of them
 * summed plainly are off by up to 7e-5) and for GNN_MAX, GNN_MIN. */
void gnn_aggregate_start_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, uint32_t *counts, float *error);
void gnn_aggregate_f32(gnn_reduce reduce, const float *x, const uint16_t *index, uint32_t rows, uint32_t channels, float *y,
                       uint32_t *counts, float *error);
void gnn_aggregate_finish_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, const uint32_t *counts);

/* Softmax over the in-edges of every node, per head, maximum subtracted; y may be x. Denominator + 1e-16 as in PyG. */
void gnn_edge_softmax_f32(const uint32_t *row_pointer, uint32_t num_nodes, uint32_t heads, const float *x, float *y);

/* y[r][h] = sum_c x[r][h][c] weight[h][c]. */
void gnn_head_dot_f32(const float *x, const float *weight, uint32_t rows, uint32_t heads, uint32_t width, float *y);
/* y[r][c] = mean_h x[r][h][c]. */
void gnn_head_mean_f32(const float *x, uint32_t rows, uint32_t heads, uint32_t width, float *y);

/* Pool in three steps, as Aggregate: accumulator [G, C] of floats, and error [G, C] as there. */
void gnn_pool_start_f32(gnn_reduce reduce, uint32_t num_graphs, uint32_t channels, float *y, float *error);
void gnn_pool_f32(gnn_reduce reduce, const float *x, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t first,
                  uint32_t rows, uint32_t channels, float *y, float *error);
void gnn_pool_finish_f32(gnn_reduce reduce, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t channels, float *y);

/* y = a (op) b. Channels of a and b are `channels` or 1; a stride (in floats) of 0 repeats one row (a constant). relu applies to y. */
void gnn_binary_f32(gnn_binary kind, const float *a, uint32_t a_channels, uint32_t a_stride, const float *b, uint32_t b_channels,
                    uint32_t b_stride, uint32_t rows, uint32_t channels, uint32_t relu, float *y);

void gnn_activation_f32(gnn_function function, float alpha, const float *x, size_t count, float *y);
/* log(softmax(x)) over each row, or with log = 0 softmax(x). */
void gnn_log_softmax_f32(const float *x, uint32_t rows, uint32_t channels, uint32_t log, float *y);
/* y = x * weight + bias per channel. (BatchNorm with its statistics folded in.) */
void gnn_affine_f32(const float *x, const float *weight, const float *bias, uint32_t rows, uint32_t channels, float *y);

typedef struct gnn_layer_norm_op {
    const float *weight, *bias; /* [channels] */
    uint16_t channels;
    uint8_t eps_outside; /* divide by sqrt(variance) + eps instead of sqrt(variance + eps) */
    float eps;
} gnn_layer_norm_op;
void gnn_layer_norm_f32(const gnn_layer_norm_op *op, const float *x, uint32_t rows, float *y);
/* Statistics over all nodes and channels of a graph: statistics[g] = {mean, 1 / spread}; then one call per block of rows. */
void gnn_graph_statistics_f32(const gnn_layer_norm_op *op, const float *x, const uint32_t *graph_pointer, uint32_t num_graphs,
                              float *statistics);
void gnn_graph_norm_f32(const gnn_layer_norm_op *op, const float *statistics, const uint32_t *graph_pointer, uint32_t num_graphs,
                        const float *x, uint32_t first, uint32_t rows, float *y);

/* ---- integer --------------------------------------------------------------------------------------------------- */

/* clamp(zero_point + (((acc << left_shift) * m + 2^(s - 1)) >> s), low, high), s = shift[c], m = multiplier[c], or srdhm(m, R) with a
 * row factor R. 1 <= s <= 62. The exporter proves that acc << left_shift fits int32; it raises left_shift until s >= 33 where the
 * bounds allow, since then only the high word of the product matters. */
typedef struct gnn_requant {
    const int32_t *multiplier; /* [channels], or [1] */
    const uint8_t *shift;      /* likewise */
    uint8_t per_channel;
    uint8_t left_shift;
    int16_t zero_point;
    int16_t low, high; /* a fused ReLU raises low to zero_point */
} gnn_requant;

/* acc[c] = bias[c] + sum_k x[k] weight[c][k]; x are rows of int16 with a stride of in_padded = in rounded up to 4, of which the last (in_padded -
 * in) are read but multiplied by 0. The bias holds - zero_point_x * sum_k weight[c][k] already. Weights are rows of in_padded codes; within each
 * four the order is 0, 2, 1, 3 (so that SXTB16 yields pairs). 4-bit: two codes a byte, 2-bit: four codes a byte, low bits first, same order. Exactly
 * GNN_ROWS rows of x are readable; `rows` (1..GNN_ROWS) rows of y are written. scratch: in_padded bytes where weight_bits < 8, else may be NULL.
 * x, scratch and weights of 8 bits lie on 4 bytes: Arm kernels load them by words. */
typedef struct gnn_linear_layer {
    const uint8_t *weight;
    const int32_t *bias; /* [out] */
    uint16_t in, out;
    uint8_t weight_bits; /* 8, 4 or 2 */
    gnn_requant requant; /* unused by gnn_linear_s32 */
} gnn_linear_layer;
void gnn_linear_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int8_t *y,
                   int8_t *scratch);
/* y_stride (elements) lets the result be the padded input of a next Linear. low and high may be those of int8 codes. */
void gnn_linear_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int16_t *y,
                    uint32_t y_stride, int8_t *scratch);
void gnn_linear_s32(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, int32_t *y, int8_t *scratch);

/* A requantization that needs only the high word of the product, all shifts worked out: with acc' = (sum << left_shift) + bias,
 * y = clamp((rounding + high(acc' m')) >> shift), m' = m or srdhm(m, R). rounding is 2^(s-33) + zero_point 2^(s-32), less than 2^30; shift is s - 32. */
typedef struct gnn_ready_channel {
    int32_t bias, multiplier, rounding;
    uint32_t shift;
} gnn_ready_channel;

/* Linear with GNN_NARROW inputs or, filled up with zeros, a few less: acc[c] = bias + sum_k x[k] weight[k], then as gnn_ready_channel with
 * int8 bounds. x are rows of GNN_NARROW int16 on 4 bytes; any number of rows. */
#define GNN_NARROW 16u
typedef struct gnn_narrow_channel {
    int16_t first[GNN_NARROW / 2u]; /* weights of the first half of x */
    int32_t bias;
    int16_t second[GNN_NARROW / 2u];
    int32_t multiplier, rounding;
    uint32_t shift;
} gnn_narrow_channel;
typedef struct gnn_linear_narrow_layer {
    const gnn_narrow_channel *channel; /* [out] */
    uint16_t out;
} gnn_linear_narrow_layer;
void gnn_linear_narrow_s8(const gnn_linear_narrow_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int8_t *y);

/* Linear on sparse binary features (codes 0 and 1): acc[c] = bias[c] + sum over ones k of weight[k][c]. y_type GNN_S8, GNN_S16 or GNN_S32.
 * scratch: int32 [out]. */
typedef struct gnn_linear_sparse_layer {
    const int8_t *weight; /* [in][out] without padding, on 4 bytes */
    const int32_t *bias;  /* [out] */
    uint16_t in, out;
    gnn_requant requant;            /* unused for GNN_S32 */
    const gnn_ready_channel *ready; /* [out], the same as requant; or NULL where some channel does not fit */
} gnn_linear_sparse_layer;
void gnn_linear_sparse(const gnn_linear_sparse_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first,
                       uint32_t rows, const int32_t *row_factor, gnn_type y_type, void *y, int32_t *scratch);

/* y[r][0..channels) = x[r][0..channels) widened to int16, y with a stride of channels rounded up to 4. */
void gnn_widen_s8(const int8_t *x, uint32_t channels, uint32_t rows, int16_t *y);
void gnn_widen_s16(const int16_t *x, uint32_t channels, uint32_t rows, int16_t *y);

/* S = sum over in-edges (x_j - zero_x), or their maximum or minimum (0 where there are none); T = (S << self_shift) + self_scale (x_i - zero_x);
 * y = requantize(T) with multiplier m' = m, or srdhm(m, R_i): R = topology->row_factor for factor GNN_FACTOR_NORMALIZATION, the reciprocal
 * recip_q31(in-degree) for GNN_FACTOR_MEAN. x is the whole node array (no padding), stride `channels`; y_stride in elements. scratch: int32 [channels].
 * The kernels named biased add `bias` before the only rounding, which it holds (ARITHMETIC 1.5): zero + (((T << left_shift) m' + bias[c]) >> s). As a
 * rule it holds the zero point as well, and zero is 0. */
typedef enum gnn_factor { GNN_FACTOR_NONE = 0, GNN_FACTOR_NORMALIZATION = 1, GNN_FACTOR_MEAN = 2 } gnn_factor;
typedef struct gnn_propagate_op {
    uint16_t channels;
    int16_t zero_point; /* of x */
    gnn_reduce reduce;  /* GNN_SUM (mean is a sum with GNN_FACTOR_MEAN), GNN_MAX or GNN_MIN */
    gnn_factor factor;
    uint8_t self_shift;
    int32_t self_scale;  /* 0 and self_shift 0: no self term */
    const int64_t *bias; /* [channels], of the biased kernels */
    gnn_requant requant; /* per tensor */
} gnn_propagate_op;
void gnn_propagate_s8_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first, uint32_t rows,
                         int8_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_s8_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first, uint32_t rows,
                          int16_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_s16_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                          uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_s16_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                           uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_biased_s8_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first, uint32_t rows,
                                int8_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_biased_s8_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first, uint32_t rows,
                                 int16_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_biased_s16_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                                 uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
void gnn_propagate_biased_s16_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                                  uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);

/* Pool: start the int32 accumulator [G, C]; add blocks of rows (raw codes minus zero_point); finish a block of graphs into codes:
 * y = requantize(acc), with srdhm(m, recip_q31(nodes)) for GNN_MEAN. x_stride in elements. Empty graph: acc is 0. */
typedef struct gnn_pool_op {
    uint16_t channels;
    int16_t zero_point; /* of x */
    gnn_reduce reduce;
    gnn_requant requant; /* per tensor */
} gnn_pool_op;
void gnn_pool_start(const gnn_pool_op *op, uint32_t num_graphs, int32_t *acc);
void gnn_pool_s8(const gnn_pool_op *op, const int8_t *x, uint32_t x_stride, const uint32_t *graph_pointer, uint32_t num_graphs,
                 uint32_t first, uint32_t rows, int32_t *acc);
void gnn_pool_s16(const gnn_pool_op *op, const int16_t *x, uint32_t x_stride, const uint32_t *graph_pointer, uint32_t num_graphs,
                  uint32_t first, uint32_t rows, int32_t *acc);
/* y_type GNN_S8 or GNN_S16; y rows with y_stride elements. acc [G, C] is the whole accumulator; graphs first .. first + rows. */
void gnn_pool_finish(const gnn_pool_op *op, const int32_t *acc, const uint32_t *graph_pointer, uint32_t first, uint32_t rows,
                     gnn_type y_type, void *y, uint32_t y_stride);

/* y = requantize(x - zero_x), with the row factor if given (indexed by r). Strides in elements. Types GNN_S8, GNN_S16; x also GNN_S32. */
typedef struct gnn_requantize_op {
    uint16_t channels;
    int16_t zero_point; /* of x */
    gnn_type x_type, y_type;
    gnn_requant requant; /* per tensor */
} gnn_requantize_op;
void gnn_requantize(const gnn_requantize_op *op, const void *x, uint32_t x_stride, uint32_t rows, const int32_t *row_factor,
                    void *y, uint32_t y_stride);

/* y = requantize(a_scale (a - a_zero) + b_scale (b - b_zero)) on `count` codes. Sub: b_scale is negative. */
typedef struct gnn_add_op {
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    int32_t a_scale, b_scale;
    gnn_requant requant; /* per tensor */
} gnn_add_op;
void gnn_add(const gnn_add_op *op, const void *a, const void *b, size_t count, void *y);

/* y = max(requantize(a - a_zero), requantize(b - b_zero)). */
typedef struct gnn_maximum_op {
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    gnn_requant a_requant, b_requant; /* per tensor */
} gnn_maximum_op;
void gnn_maximum(const gnn_maximum_op *op, const void *a, const void *b, size_t count, void *y);

/* y[i] = table[x[i] + 128]: any function of int8 codes. y may be x. */
void gnn_table_s8(const int8_t *table, const int8_t *x, size_t count, int8_t *y);

/* clamp(rint(x * inverse_scale) + zero_point, low, high): one float product, rounded half to even, then integers. NaN gives low. Strides in elements. */
typedef struct gnn_quantize_op {
    uint16_t channels;
    int16_t zero_point, low, high;
    float inverse_scale;
} gnn_quantize_op;
void gnn_quantize_s8(const gnn_quantize_op *op, const float *x, uint32_t rows, int8_t *y, uint32_t y_stride);
void gnn_quantize_s16(const gnn_quantize_op *op, const float *x, uint32_t rows, int16_t *y, uint32_t y_stride);

/* y = (float)((double)(x - zero_point) * scale[c]); scale [channels] if per_channel, else [1]. Types GNN_S8, GNN_S16, GNN_S32. */
void gnn_dequantize(gnn_type x_type, const void *x, uint32_t x_stride, const float *scale, uint32_t per_channel, int32_t zero_point,
                    uint32_t rows, uint32_t channels, float *y);

/* y = (float)((double)x * scale): the same for a zero point of 0, one scale and rows without gaps. */
void gnn_dequantize_s16(const int16_t *x, size_t count, float scale, float *y);

/* ---- integer edges --------------------------------------------------------------------------------------------- */

/* y[r][h] = requantize(bias[h] + sum_c x[r][h][c] weight[h][c]); the bias is - zero_point_x * sum_c weight[h][c]. x_stride in elements. */
typedef struct gnn_head_dot_op {
    const int8_t *weight; /* [heads][width] */
    const int32_t *bias;  /* [heads] */
    uint16_t heads, width;
    gnn_requant requant; /* one multiplier per head */
} gnn_head_dot_op;
void gnn_head_dot_s8(const gnn_head_dot_op *op, const int8_t *x, uint32_t x_stride, uint32_t rows, int16_t *y);
void gnn_head_dot_s16(const gnn_head_dot_op *op, const int16_t *x, uint32_t x_stride, uint32_t rows, int16_t *y);

/* y = requantize(x - zero_point) with `above` for codes from the zero point on, with `below` for the others. */
typedef struct gnn_leaky_relu_op {
    gnn_type x_type, y_type;
    int16_t zero_point;       /* of x */
    gnn_requant above, below; /* per tensor */
} gnn_leaky_relu_op;
void gnn_leaky_relu(const gnn_leaky_relu_op *op, const void *x, size_t count, void *y);

/* Softmax over the in-edges of every node, per head: codes of logits around 0 to weights at scale 1 / 32767, which sum to exactly 32767
 * at every node that has in-edges, 2^16 at most (toolchain.ir.integer_softmax). y may be x. */
typedef struct gnn_edge_softmax_op {
    uint32_t multiplier; /* difference of codes to exponent: (min(d, reach) * multiplier) >> shift */
    uint16_t reach;
    uint8_t shift;
    uint16_t heads;
} gnn_edge_softmax_op;
void gnn_edge_softmax_s16(const gnn_edge_softmax_op *op, const uint32_t *row_pointer, uint32_t num_nodes, const int16_t *x, int16_t *y);

/* y_i = requantize(sum_j w_ij (x_j - zero_point)) with weights [E'][heads] of gnn_edge_softmax_s16; bias as in gnn_propagate_op. x is the whole
 * node array. y_type GNN_S8 or GNN_S16, y_stride in elements. No sum leaves int32, since the weights of a node sum to 32767. */
typedef struct gnn_propagate_weighted_op {
    uint16_t channels, heads;
    int16_t zero_point;  /* of x */
    const int64_t *bias; /* [channels] or NULL */
    gnn_requant requant; /* per tensor */
} gnn_propagate_weighted_op;
void gnn_propagate_weighted_s8(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const int8_t *x,
                               const int16_t *edge_weight, uint32_t first, uint32_t rows, gnn_type y_type, void *y, uint32_t y_stride);
void gnn_propagate_weighted_s16(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const int16_t *x,
                                const int16_t *edge_weight, uint32_t first, uint32_t rows, gnn_type y_type, void *y,
                                uint32_t y_stride);

/* y[r][c] = requantize(sum_h (x[r][h][c] - zero_point)). */
typedef struct gnn_head_mean_op {
    uint16_t heads, width; /* of x; y has `width` channels */
    gnn_type x_type, y_type;
    int16_t zero_point; /* of x */
    gnn_requant requant; /* per tensor */
} gnn_head_mean_op;
void gnn_head_mean(const gnn_head_mean_op *op, const void *x, uint32_t rows, void *y);

/* Aggregate of edge rows at their targets. Edges come sorted by target, so a node is complete before the next one begins: `acc` [channels]
 * holds one node between two blocks, and y [N, channels] is written with a node's last in-edge. start gives every node the code of 0,
 * which those without in-edges keep. GNN_MEAN: with srdhm(m, recip_q31(in-edges)). target[r] is the node of edge first + r (gnn_targets). */
typedef struct gnn_aggregate_op {
    uint16_t channels;
    gnn_type x_type, y_type;
    gnn_reduce reduce;
    int16_t zero_point; /* of x */
    gnn_requant requant; /* per tensor */
} gnn_aggregate_op;
void gnn_aggregate_start(const gnn_aggregate_op *op, uint32_t num_nodes, void *y);
void gnn_aggregate(const gnn_aggregate_op *op, const uint32_t *row_pointer, const uint16_t *target, const void *x, uint32_t first,
                   uint32_t rows, int32_t *acc, void *y);

/* y = requantize((a - a_zero) (b - b_zero)). Channels of a and b are `channels` or 1; a stride (in elements) of 0 repeats one row (a constant). */
typedef struct gnn_mul_op {
    uint16_t channels;
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    gnn_requant requant; /* per tensor */
} gnn_mul_op;
void gnn_mul(const gnn_mul_op *op, const void *a, uint32_t a_channels, uint32_t a_stride, const void *b, uint32_t b_channels,
             uint32_t b_stride, uint32_t rows, void *y);

#ifdef __cplusplus
}
#endif

#include "gnn_kernels_packed.h"

#endif
