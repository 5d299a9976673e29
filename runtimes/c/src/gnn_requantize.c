/* In: codes of one type. Out: codes of another, with an optional row factor. */
#include "gnn_requantize.h"

void gnn_requantize(const gnn_requantize_op *op, const void *x, uint32_t x_stride, uint32_t rows, const int32_t *row_factor, void *y,
                    uint32_t y_stride)
{
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        gnn_scale scale;
        gnn_set_scale(&scale, &op->requant, 0, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
        for (c = 0; c < op->channels; ++c) {
            const int32_t value = gnn_load_code(x, op->x_type, (size_t)r * x_stride + c) - op->zero_point;
            gnn_store_code(y, op->y_type, (size_t)r * y_stride + c, gnn_requantized(&scale, value));
        }
    }
}
