/* In: two arrays of codes. Out: codes of their product. */
#include "gnn_requantize.h"

void gnn_mul(const gnn_mul_op *op, const void *a, uint32_t a_channels, uint32_t a_stride, const void *b, uint32_t b_channels,
             uint32_t b_stride, uint32_t rows, void *y)
{
    const uint32_t channels = op->channels;
    gnn_scale scale;
    uint32_t r, c;
    gnn_set_scale(&scale, &op->requant, 0, GNN_NO_FACTOR);
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < channels; ++c) {
            const int32_t left = gnn_load_code(a, op->a_type, (size_t)r * a_stride + (a_channels == 1u ? 0u : c)) - op->a_zero;
            const int32_t right = gnn_load_code(b, op->b_type, (size_t)r * b_stride + (b_channels == 1u ? 0u : c)) - op->b_zero;
            gnn_store_code(y, op->y_type, (size_t)r * channels + c, gnn_requantized(&scale, left * right));
        }
    }
}
