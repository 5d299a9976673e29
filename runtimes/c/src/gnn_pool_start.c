/* Out: the accumulator of an integer Pool, before any row. */
#include "gnn_kernels.h"

void gnn_pool_start(const gnn_pool_op *op, uint32_t num_graphs, int32_t *acc)
{
    const int32_t start = op->reduce == GNN_MAX ? INT32_MIN : op->reduce == GNN_MIN ? INT32_MAX : 0;
    int32_t *const end = acc + (size_t)num_graphs * op->channels;
    while (acc != end) {
        *acc++ = start;
    }
}
