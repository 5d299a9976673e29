/* In: codes of all heads. Out: codes of their mean. */
#include "gnn_requantize.h"

void gnn_head_mean(const gnn_head_mean_op *op, const void *x, uint32_t rows, void *y)
{
    const uint32_t heads = op->heads, width = op->width;
    gnn_scale scale;
    uint32_t r, h, c;
    gnn_set_scale(&scale, &op->requant, 0, GNN_NO_FACTOR);
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < width; ++c) {
            int32_t sum = 0;
            for (h = 0; h < heads; ++h) {
                sum += gnn_load_code(x, op->x_type, ((size_t)r * heads + h) * width + c) - op->zero_point;
            }
            gnn_store_code(y, op->y_type, (size_t)r * width + c, gnn_requantized(&scale, sum));
        }
    }
}
