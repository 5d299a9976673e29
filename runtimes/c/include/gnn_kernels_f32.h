/* The kernels on floats. gnn_kernels.h includes this. */
#ifndef GNN_KERNELS_F32_H
#define GNN_KERNELS_F32_H

#include "gnn_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = relu?(x W^T + b) * scale[r]. weight is stored transposed, [in][out]; bias, scale may be NULL. Sums run over k in order. */
typedef struct gnn_linear_f32_layer {
    const float *weight; /* [in][out] */
    const float *bias;   /* [out] or NULL */
    uint16_t in, out;
    uint8_t relu;
} gnn_linear_f32_layer;
GNN_KERNEL void gnn_linear_f32(const gnn_linear_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y);

/* The same on sparse binary features of the rows first .. first + rows. */
GNN_KERNEL void gnn_linear_sparse_f32(const gnn_linear_f32_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index,
                                      uint32_t first, uint32_t rows, const float *scale, float *y);

/* Smallest and largest of `count` floats and 0: range[0] <= 0 <= range[1]. */
GNN_KERNEL void gnn_range_f32(const float *x, size_t count, float range[2]);

/* Dynamic int8 Linear (reference_integer.dynamic_linear): x is quantized to uint8 over `range`, summed in int32, scaled, then bias, ReLU
 * and the optional row scale in float. */
typedef struct gnn_linear_dynamic_layer {
    const int8_t *weight; /* [out][in] */
    const float *weight_scale; /* [out] */
    const float *bias;
    uint16_t in, out;
    uint8_t relu;
} gnn_linear_dynamic_layer;
GNN_KERNEL void gnn_linear_dynamic(const gnn_linear_dynamic_layer *layer, const float range[2], const float *x, uint32_t rows,
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
GNN_KERNEL void gnn_propagate_f32(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *x,
                                  const float *edge_weight, const float *out_scale, uint32_t first, uint32_t rows, float *y);

/* Aggregate in three steps: start on the whole accumulator [N, C], add blocks of edge rows, finish on the whole accumulator (mean; maxima and
 * minima of no row to 0).
 * index[r] is the node of edge row r. counts [N] is needed for GNN_MEAN, else NULL; it is filled by start and add. error [N, C] holds what
 * rounding took from sums and means; NULL where no node has more than some 500 edges (equal terms all round the same way: 5,000 of them
 * summed plainly are off by up to 7e-5) and for GNN_MAX, GNN_MIN, GNN_PRODUCT. */
GNN_KERNEL void gnn_aggregate_start_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, uint32_t *counts,
                                        float *error);
GNN_KERNEL void gnn_aggregate_f32(gnn_reduce reduce, const float *x, const uint16_t *index, uint32_t rows, uint32_t channels,
                                  float *y, uint32_t *counts, float *error);
GNN_KERNEL void gnn_aggregate_finish_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, const uint32_t *counts);

/* Softmax over the in-edges of every node, per head, maximum subtracted; y may be x. Denominator + 1e-16 as in PyG. */
GNN_KERNEL void gnn_edge_softmax_f32(const uint32_t *row_pointer, uint32_t num_nodes, uint32_t heads, const float *x, float *y);

/* y[r][h] = sum_c x[r][h][c] weight[h][c]. */
GNN_KERNEL void gnn_head_dot_f32(const float *x, const float *weight, uint32_t rows, uint32_t heads, uint32_t width, float *y);
/* y[r][c] = mean_h x[r][h][c]. */
GNN_KERNEL void gnn_head_mean_f32(const float *x, uint32_t rows, uint32_t heads, uint32_t width, float *y);

/* Pool in three steps, as Aggregate: accumulator [G, C] of floats, and error [G, C] as there. */
GNN_KERNEL void gnn_pool_start_f32(gnn_reduce reduce, uint32_t num_graphs, uint32_t channels, float *y, float *error);
GNN_KERNEL void gnn_pool_f32(gnn_reduce reduce, const float *x, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t first,
                             uint32_t rows, uint32_t channels, float *y, float *error);
GNN_KERNEL void gnn_pool_finish_f32(gnn_reduce reduce, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t channels,
                                    float *y);

/* y = a (op) b. Channels of a and b are `channels` or 1; a stride (in floats) of 0 repeats one row (a constant). relu applies to y. */
GNN_KERNEL void gnn_binary_f32(gnn_binary kind, const float *a, uint32_t a_channels, uint32_t a_stride, const float *b,
                               uint32_t b_channels, uint32_t b_stride, uint32_t rows, uint32_t channels, uint32_t relu, float *y);

GNN_KERNEL void gnn_activation_f32(gnn_function function, float alpha, const float *x, size_t count, float *y);
/* log(softmax(x)) over each row, or with log = 0 softmax(x). */
GNN_KERNEL void gnn_log_softmax_f32(const float *x, uint32_t rows, uint32_t channels, uint32_t log, float *y);
/* y = x * weight + bias per channel. (BatchNorm with its statistics folded in.) */
GNN_KERNEL void gnn_affine_f32(const float *x, const float *weight, const float *bias, uint32_t rows, uint32_t channels, float *y);

typedef struct gnn_layer_norm_op {
    const float *weight, *bias; /* [channels] */
    uint16_t channels;
    uint8_t eps_outside; /* divide by sqrt(variance) + eps instead of sqrt(variance + eps) */
    float eps;
} gnn_layer_norm_op;
GNN_KERNEL void gnn_layer_norm_f32(const gnn_layer_norm_op *op, const float *x, uint32_t rows, float *y);
/* Statistics over all nodes and channels of a graph: statistics[g] = {mean, 1 / spread}; then one call per block of rows. */
GNN_KERNEL void gnn_graph_statistics_f32(const gnn_layer_norm_op *op, const float *x, const uint32_t *graph_pointer,
                                         uint32_t num_graphs, float *statistics);
GNN_KERNEL void gnn_graph_norm_f32(const gnn_layer_norm_op *op, const float *statistics, const uint32_t *graph_pointer,
                                   uint32_t num_graphs, const float *x, uint32_t first, uint32_t rows, float *y);

#ifdef __cplusplus
}
#endif
#endif
