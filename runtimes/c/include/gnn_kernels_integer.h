/* The kernels on codes. gnn_kernels.h includes this. */
#ifndef GNN_KERNELS_INTEGER_H
#define GNN_KERNELS_INTEGER_H

#include "gnn_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

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
 * four the order is 0, 2, 1, 3 (so that SXTB16 yields pairs). 2-bit: code + 2, four a byte, low bits first, same order. 4-bit: code + 8, two a byte;
 * within each eight the order is 0, 2, 4, 6, 1, 3, 5, 7 (so that AND yields pairs), behind the first four where in_padded is odd in fours. Exactly
 * GNN_ROWS rows of x are readable; `rows` (1..GNN_ROWS) rows of y are written. scratch: in_padded bytes where weight_bits < 8, else may be NULL.
 * x, scratch and weights of 8 bits lie on 4 bytes: Arm kernels load them by words.
 * Terms spare constants: bias is NULL and requant.shift is [1], the least one. They are for weights of 4 bits with multipliers per channel, up to
 * 64 inputs and shifts from 33 to 55; a zero point has 8 bits then, and the bounds of int8 codes are -128 and 127. */
typedef struct gnn_linear_layer {
    const uint8_t *weight;
    const int32_t *bias;  /* [out] */
    const int16_t *terms; /* [out] or NULL: 16 bias[c] + shift[c] - requant.shift[0], see there */
    uint16_t in, out;
    uint8_t weight_bits; /* 8, 4 or 2 */
    gnn_requant requant; /* unused by gnn_linear_s32 */
} gnn_linear_layer;
GNN_KERNEL void gnn_linear_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int8_t *y,
                              int8_t *scratch);
/* y_stride (elements) lets the result be the padded input of a next Linear. low and high may be those of int8 codes. */
GNN_KERNEL void gnn_linear_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                               int16_t *y, uint32_t y_stride, int8_t *scratch);
GNN_KERNEL void gnn_linear_s32(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, int32_t *y, int8_t *scratch);

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
GNN_KERNEL void gnn_linear_narrow_s8(const gnn_linear_narrow_layer *layer, const int16_t *x, uint32_t rows,
                                     const int32_t *row_factor, int8_t *y);

/* Linear on sparse binary features (codes 0 and 1): acc[c] = bias[c] + sum over ones k of weight[k][c]. y_type GNN_S8, GNN_S16 or GNN_S32.
 * scratch: int32 [out]. */
typedef struct gnn_linear_sparse_layer {
    const int8_t *weight; /* [in][out] without padding, on 4 bytes */
    const int32_t *bias;  /* [out] */
    uint16_t in, out;
    gnn_requant requant;            /* unused for GNN_S32 */
    const gnn_ready_channel *ready; /* [out], the same as requant; or NULL where some channel does not fit */
} gnn_linear_sparse_layer;
GNN_KERNEL void gnn_linear_sparse(const gnn_linear_sparse_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index,
                                  uint32_t first, uint32_t rows, const int32_t *row_factor, gnn_type y_type, void *y,
                                  int32_t *scratch);

/* y[r][0..channels) = x[r][0..channels) widened to int16, y with a stride of channels rounded up to 4. */
GNN_KERNEL void gnn_widen_s8(const int8_t *x, uint32_t channels, uint32_t rows, int16_t *y);
GNN_KERNEL void gnn_widen_s16(const int16_t *x, uint32_t channels, uint32_t rows, int16_t *y);

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
GNN_KERNEL void gnn_propagate_s8_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first,
                                    uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_s8_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first,
                                     uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_s16_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                                     uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_s16_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first,
                                      uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_biased_s8_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x,
                                           uint32_t first, uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_biased_s8_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x,
                                            uint32_t first, uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_biased_s16_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x,
                                            uint32_t first, uint32_t rows, int8_t *y, uint32_t y_stride, int32_t *scratch);
GNN_KERNEL void gnn_propagate_biased_s16_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x,
                                             uint32_t first, uint32_t rows, int16_t *y, uint32_t y_stride, int32_t *scratch);

/* Pool: start the int32 accumulator [G, C]; add blocks of rows (raw codes minus zero_point); finish a block of graphs into codes:
 * y = requantize(acc), with srdhm(m, recip_q31(nodes)) for GNN_MEAN. x_stride in elements. Empty graph: acc is 0. */
typedef struct gnn_pool_op {
    uint16_t channels;
    int16_t zero_point; /* of x */
    gnn_reduce reduce;
    gnn_requant requant; /* per tensor */
} gnn_pool_op;
GNN_KERNEL void gnn_pool_start(const gnn_pool_op *op, uint32_t num_graphs, int32_t *acc);
GNN_KERNEL void gnn_pool_s8(const gnn_pool_op *op, const int8_t *x, uint32_t x_stride, const uint32_t *graph_pointer,
                            uint32_t num_graphs, uint32_t first, uint32_t rows, int32_t *acc);
GNN_KERNEL void gnn_pool_s16(const gnn_pool_op *op, const int16_t *x, uint32_t x_stride, const uint32_t *graph_pointer,
                             uint32_t num_graphs, uint32_t first, uint32_t rows, int32_t *acc);
/* y_type GNN_S8 or GNN_S16; y rows with y_stride elements. acc [G, C] is the whole accumulator; graphs first .. first + rows. */
GNN_KERNEL void gnn_pool_finish(const gnn_pool_op *op, const int32_t *acc, const uint32_t *graph_pointer, uint32_t first,
                                uint32_t rows, gnn_type y_type, void *y, uint32_t y_stride);

/* y = requantize(x - zero_x), with the row factor if given (indexed by r). Strides in elements. Types GNN_S8, GNN_S16; x also GNN_S32. */
typedef struct gnn_requantize_op {
    uint16_t channels;
    int16_t zero_point; /* of x */
    gnn_type x_type, y_type;
    gnn_requant requant; /* per tensor */
} gnn_requantize_op;
GNN_KERNEL void gnn_requantize(const gnn_requantize_op *op, const void *x, uint32_t x_stride, uint32_t rows,
                               const int32_t *row_factor, void *y, uint32_t y_stride);

/* Groups of nodes: how many of the bounds, which ascend, the in-degree of a node exceeds; or the largest |x - zero_point| in a row of codes. Types
 * GNN_S8, GNN_S16; x_stride in elements. */
typedef struct gnn_degree_group_op {
    const uint32_t *bound; /* [bounds] */
    uint16_t bounds;
} gnn_degree_group_op;
GNN_KERNEL void gnn_degree_group(const gnn_degree_group_op *op, const gnn_topology *topology, uint32_t first, uint32_t rows,
                                 int16_t *group);
typedef struct gnn_peak_group_op {
    const int32_t *bound; /* [bounds] */
    uint16_t bounds, channels;
    gnn_type x_type;
    int16_t zero_point; /* of x */
} gnn_peak_group_op;
GNN_KERNEL void gnn_peak_group(const gnn_peak_group_op *op, const void *x, uint32_t x_stride, uint32_t rows, int16_t *group);

/* y = clamp(zero_point + (((x - zero_x) m' + bias' + 2^(s - 1)) >> s), low, high), then cut at zero_point - limit[g] and zero_point + limit[g]. g is the
 * group of the row and m' = srdhm(m, factor[g]). With a row factor R it is srdhm(m, srdhm(factor[g], R)) and bias' = (bias R + 2^30) >> 31; else bias' is
 * bias. |bias| < 2^61. The left shift is 0. Strides in elements. Types GNN_S8, GNN_S16; x also GNN_S32. */
typedef struct gnn_row_scale_op {
    const int32_t *factor; /* [groups] Q31 */
    const int16_t *limit;  /* [groups], or NULL for none */
    const int64_t *bias;   /* [channels] or NULL */
    uint16_t channels;
    gnn_type x_type, y_type;
    int16_t zero_point; /* of x */
    gnn_requant requant;
} gnn_row_scale_op;
GNN_KERNEL void gnn_row_scale(const gnn_row_scale_op *op, const void *x, uint32_t x_stride, uint32_t rows, const int16_t *group,
                              const int32_t *row_factor, void *y, uint32_t y_stride);

/* y = requantize(a_scale (a - a_zero) + b_scale (b - b_zero)) on `count` codes. Sub: b_scale is negative. */
typedef struct gnn_add_op {
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    int32_t a_scale, b_scale;
    gnn_requant requant; /* per tensor */
} gnn_add_op;
GNN_KERNEL void gnn_add(const gnn_add_op *op, const void *a, const void *b, size_t count, void *y);

/* y = max(requantize(a - a_zero), requantize(b - b_zero)). */
typedef struct gnn_maximum_op {
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    gnn_requant a_requant, b_requant; /* per tensor */
} gnn_maximum_op;
GNN_KERNEL void gnn_maximum(const gnn_maximum_op *op, const void *a, const void *b, size_t count, void *y);

/* y[i] = table[x[i] + 128]: any function of int8 codes. y may be x. */
GNN_KERNEL void gnn_table_s8(const int8_t *table, const int8_t *x, size_t count, int8_t *y);

/* clamp(rint(x * inverse_scale) + zero_point, low, high): one float product, rounded half to even, then integers. NaN gives low. Strides in elements. */
typedef struct gnn_quantize_op {
    uint16_t channels;
    int16_t zero_point, low, high;
    float inverse_scale;
} gnn_quantize_op;
GNN_KERNEL void gnn_quantize_s8(const gnn_quantize_op *op, const float *x, uint32_t rows, int8_t *y, uint32_t y_stride);
GNN_KERNEL void gnn_quantize_s16(const gnn_quantize_op *op, const float *x, uint32_t rows, int16_t *y, uint32_t y_stride);

/* y = (float)((double)(x - zero_point) * scale[c]); scale [channels] if per_channel, else [1]. Types GNN_S8, GNN_S16, GNN_S32. */
GNN_KERNEL void gnn_dequantize(gnn_type x_type, const void *x, uint32_t x_stride, const float *scale, uint32_t per_channel,
                               int32_t zero_point, uint32_t rows, uint32_t channels, float *y);

/* y = (float)((double)x * scale): the same for a zero point of 0, one scale and rows without gaps. */
GNN_KERNEL void gnn_dequantize_s16(const int16_t *x, size_t count, float scale, float *y);

/* ---- edges -------------------------------------------------------------------------------------------------------- */

/* y[r][h] = requantize(bias[h] + sum_c x[r][h][c] weight[h][c]); the bias is - zero_point_x * sum_c weight[h][c]. x_stride in elements. */
typedef struct gnn_head_dot_op {
    const int8_t *weight; /* [heads][width] */
    const int32_t *bias;  /* [heads] */
    uint16_t heads, width;
    gnn_type y_type;
    gnn_requant requant; /* one multiplier per head */
} gnn_head_dot_op;
GNN_KERNEL void gnn_head_dot_s8(const gnn_head_dot_op *op, const int8_t *x, uint32_t x_stride, uint32_t rows, void *y);
GNN_KERNEL void gnn_head_dot_s16(const gnn_head_dot_op *op, const int16_t *x, uint32_t x_stride, uint32_t rows, void *y);

/* y = requantize(x - zero_point) with `above` for codes from the zero point on, with `below` for the others. */
typedef struct gnn_leaky_relu_op {
    gnn_type x_type, y_type;
    int16_t zero_point;       /* of x */
    gnn_requant above, below; /* per tensor */
} gnn_leaky_relu_op;
GNN_KERNEL void gnn_leaky_relu(const gnn_leaky_relu_op *op, const void *x, size_t count, void *y);

/* Softmax over the in-edges of every node, per head: codes of logits around 0 to weights at scale 1 / 32767, which sum to exactly 32767
 * at every node that has in-edges, 2^16 at most (toolchain.ir.integer_softmax). y may be x. */
typedef struct gnn_edge_softmax_op {
    uint32_t multiplier; /* difference of codes to exponent: (min(d, reach) * multiplier) >> shift */
    uint16_t reach;
    uint8_t shift;
    uint16_t heads;
} gnn_edge_softmax_op;
GNN_KERNEL void gnn_edge_softmax_s16(const gnn_edge_softmax_op *op, const uint32_t *row_pointer, uint32_t num_nodes,
                                     const int16_t *x, int16_t *y);

/* y_i = requantize(sum_j w_ij (x_j - zero_point)) with weights [E'][heads] of gnn_edge_softmax_s16; bias as in gnn_propagate_op. x is the whole
 * node array. y_type GNN_S8 or GNN_S16, y_stride in elements. No sum leaves int32, since the weights of a node sum to 32767. */
typedef struct gnn_propagate_weighted_op {
    uint16_t channels, heads;
    int16_t zero_point;  /* of x */
    const int64_t *bias; /* [channels] or NULL */
    gnn_requant requant; /* per tensor */
} gnn_propagate_weighted_op;
GNN_KERNEL void gnn_propagate_weighted_s8(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const int8_t *x,
                                          const int16_t *edge_weight, uint32_t first, uint32_t rows, gnn_type y_type, void *y,
                                          uint32_t y_stride);
GNN_KERNEL void gnn_propagate_weighted_s16(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const int16_t *x,
                                           const int16_t *edge_weight, uint32_t first, uint32_t rows, gnn_type y_type, void *y,
                                           uint32_t y_stride);

/* y[r][c] = requantize(sum_h (x[r][h][c] - zero_point)). */
typedef struct gnn_head_mean_op {
    uint16_t heads, width; /* of x; y has `width` channels */
    gnn_type x_type, y_type;
    int16_t zero_point; /* of x */
    gnn_requant requant; /* per tensor */
} gnn_head_mean_op;
GNN_KERNEL void gnn_head_mean(const gnn_head_mean_op *op, const void *x, uint32_t rows, void *y);

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
GNN_KERNEL void gnn_aggregate_start(const gnn_aggregate_op *op, uint32_t num_nodes, void *y);
GNN_KERNEL void gnn_aggregate(const gnn_aggregate_op *op, const uint32_t *row_pointer, const uint16_t *target, const void *x,
                              uint32_t first, uint32_t rows, int32_t *acc, void *y);

/* y = requantize((a - a_zero) (b - b_zero)). Channels of a and b are `channels` or 1; a stride (in elements) of 0 repeats one row (a constant). */
typedef struct gnn_mul_op {
    uint16_t channels;
    gnn_type a_type, b_type, y_type;
    int16_t a_zero, b_zero;
    gnn_requant requant; /* per tensor */
} gnn_mul_op;
GNN_KERNEL void gnn_mul(const gnn_mul_op *op, const void *a, uint32_t a_channels, uint32_t a_stride, const void *b,
                        uint32_t b_channels, uint32_t b_stride, uint32_t rows, void *y);

#ifdef __cplusplus
}
#endif
#endif
