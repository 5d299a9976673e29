/* Rows of an integer Pool, for either type of x. */
#ifndef GNN_POOL_H
#define GNN_POOL_H

#include "gnn_requantize.h"
#include "gnn_search.h"

#ifdef __cplusplus
extern "C" {
#endif

static GNN_INLINE void gnn_pool_block(const gnn_pool_op *op, const void *x, gnn_type type, uint32_t x_stride, const uint32_t *graph_pointer,
                                      uint32_t num_graphs, uint32_t first, uint32_t rows, int32_t *acc)
{
    const uint32_t channels = op->channels;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        int32_t *const sum = acc + (size_t)gnn_graph_of(graph_pointer, num_graphs, first + r) * channels;
        for (c = 0; c < channels; ++c) {
            const int32_t value = gnn_load_code(x, type, (size_t)r * x_stride + c) - op->zero_point;
            if (op->reduce == GNN_MAX) {
                sum[c] = sum[c] > value ? sum[c] : value;
            } else if (op->reduce == GNN_MIN) {
                sum[c] = sum[c] < value ? sum[c] : value;
            } else {
                sum[c] += value;
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
