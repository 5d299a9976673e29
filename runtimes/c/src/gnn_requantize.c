/* In: codes of one type. Out: codes of another, with an optional row factor. */
#include "gnn_requantize.h"

#define GNN_PART 8u /* codes of a row at a time */

void gnn_requantize(const gnn_requantize_op *op, const void *x, uint32_t x_stride, uint32_t rows, const int32_t *row_factor, void *y,
                    uint32_t y_stride)
{
    const uint32_t channels = op->channels, y_bytes = op->y_type == GNN_S8 ? 1u : 2u;
    uint32_t r, c, k;
    for (r = 0; r < rows; ++r) {
        gnn_scale scale;
        gnn_set_scale(&scale, &op->requant, 0, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
        for (c = 0; c < channels; c += k) {
            int32_t value[GNN_PART];
            for (k = 0; k < GNN_PART && c + k < channels; ++k) {
                value[k] = gnn_any_code(x, op->x_type, (size_t)r * x_stride + c + k) - op->zero_point;
            }
            gnn_store_codes(&scale, value, k, op->y_type, (uint8_t *)y + ((size_t)r * y_stride + c) * y_bytes);
        }
    }
}
