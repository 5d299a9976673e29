/* In: nothing. Out: the code of 0 for every node. */
#include "gnn_requantize.h"

void gnn_aggregate_start(const gnn_aggregate_op *op, uint32_t num_nodes, void *y)
{
    const size_t count = (size_t)num_nodes * op->channels;
    size_t i;
    for (i = 0; i < count; ++i) {
        gnn_store_code(y, op->y_type, i, gnn_clamp(op->requant.zero_point, op->requant.low, op->requant.high));
    }
}
