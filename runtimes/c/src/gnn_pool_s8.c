/* In: a block of int8 rows. Out: the accumulators of their graphs, advanced. */
#include "gnn_pool.h"

void gnn_pool_s8(const gnn_pool_op *op, const int8_t *x, uint32_t x_stride, const uint32_t *graph_pointer, uint32_t num_graphs,
                 uint32_t first, uint32_t rows, int32_t *acc)
{
    gnn_pool_block(op, x, GNN_S8, x_stride, graph_pointer, num_graphs, first, rows, acc);
}
