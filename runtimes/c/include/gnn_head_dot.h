/* Inner products of rows of codes with one vector per head, for either type of x and of the result. */
#ifndef GNN_HEAD_DOT_H
#define GNN_HEAD_DOT_H

#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

static GNN_INLINE void gnn_head_dot_block(const gnn_head_dot_op *op, const void *x, gnn_type type, uint32_t x_stride, uint32_t rows, void *y)
{
    const uint32_t heads = op->heads, width = op->width;
    uint32_t h, r, c;
    for (h = 0; h < heads; ++h) {
        const int8_t *const weight = op->weight + (size_t)h * width;
        gnn_scale scale;
        gnn_set_scale(&scale, &op->requant, h, GNN_NO_FACTOR);
        for (r = 0; r < rows; ++r) {
            const size_t at = (size_t)r * x_stride + (size_t)h * width;
            int32_t acc = op->bias[h];
            for (c = 0; c < width; ++c) {
                acc += gnn_load_code(x, type, at + c) * weight[c];
            }
            gnn_store_code(y, op->y_type, (size_t)r * heads + h, gnn_requantized(&scale, acc));
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
