/* In: the accumulators of an integer Pool. Out: codes of a block of graphs. */
#include "gnn_requantize.h"

void gnn_pool_finish(const gnn_pool_op *op, const int32_t *acc, const uint32_t *graph_pointer, uint32_t first, uint32_t rows,
                     gnn_type y_type, void *y, uint32_t y_stride)
{
    uint32_t r, c;
    acc += (size_t)first * op->channels;
    for (r = 0; r < rows; ++r) {
        const uint32_t count = graph_pointer[first + r + 1u] - graph_pointer[first + r];
        const int32_t m = op->requant.multiplier[0];
        const gnn_scale scale = gnn_scale_of(&op->requant, 0, op->reduce == GNN_MEAN ? gnn_srdhm(m, gnn_recip_q31(count)) : m);
        for (c = 0; c < op->channels; ++c) {
            const int32_t total = *acc++;
            gnn_store_code(y, y_type, (size_t)r * y_stride + c, gnn_requantize_code(&scale, count == 0u ? 0 : total));
        }
    }
}
