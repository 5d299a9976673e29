/* In: the accumulators of an integer Pool. Out: codes of a block of graphs. */
#include "gnn_requantize.h"

void gnn_pool_finish(const gnn_pool_op *op, const int32_t *acc, const uint32_t *graph_pointer, uint32_t first, uint32_t rows,
                     gnn_type y_type, void *y, uint32_t y_stride)
{
    const uint32_t channels = op->channels, y_bytes = y_type == GNN_S8 ? 1u : 2u;
    uint32_t r;
    for (r = 0; r < rows; ++r) {
        const uint32_t graph = first + r, count = graph_pointer[graph + 1u] - graph_pointer[graph];
        gnn_scale scale;
        gnn_set_scale(&scale, &op->requant, 0, op->reduce == GNN_MEAN ? gnn_mean_factor(count) : GNN_NO_FACTOR);
        if (count == 0u) {
            scale.multiplier = 0; /* whatever acc holds, it counts as 0 */
        }
        gnn_store_codes(&scale, acc + (size_t)graph * channels, channels, y_type, (uint8_t *)y + (size_t)r * y_stride * y_bytes);
    }
}
