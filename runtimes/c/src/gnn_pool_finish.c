/* In: the accumulators of an integer Pool. Out: codes of a block of graphs. */
#include "gnn_requantize.h"

void gnn_pool_finish(const gnn_pool_op *op, const int32_t *acc, const uint32_t *graph_pointer, uint32_t first, uint32_t rows,
                     gnn_type y_type, void *y, uint32_t y_stride)
{
    const uint32_t channels = op->channels, end = first + rows;
    acc += (size_t)first * channels;
    for (; first != end; ++first) {
        const uint32_t count = graph_pointer[first + 1u] - graph_pointer[first];
        gnn_scale scale;
        gnn_set_scale(&scale, &op->requant, 0, op->reduce == GNN_MEAN ? gnn_recip_q31(count) : GNN_NO_FACTOR);
        if (count == 0u) {
            scale.multiplier = 0; /* whatever acc holds, it counts as 0 */
        }
        gnn_store_codes(&scale, acc, channels, y_type, y);
        acc += channels;
        y = y_type == GNN_S8 ? (void *)((int8_t *)y + y_stride) : (void *)((int16_t *)y + y_stride);
    }
}
