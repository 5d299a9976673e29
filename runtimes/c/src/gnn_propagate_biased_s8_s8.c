/* In: int8 codes of all nodes. Out: int8 codes of a block of nodes, summed over their in-edges, with a late bias. */
#include "gnn_propagate_biased.h"

void gnn_propagate_biased_s8_s8(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first, uint32_t rows,
                                int8_t *y, uint32_t y_stride, int32_t *scratch)
{
    gnn_propagate_biased_block(op, topology, x, GNN_S8, first, rows, (uint8_t *)y, GNN_S8, y_stride, scratch);
}
