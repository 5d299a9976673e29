/* In: int16 codes of all nodes. Out: int16 codes of a block of nodes, summed over their in-edges. */
#include "gnn_propagate.h"

void gnn_propagate_s16_s16(const gnn_propagate_op *op, const gnn_topology *topology, const int16_t *x, uint32_t first, uint32_t rows,
                         int16_t *y, uint32_t y_stride, int32_t *scratch)
{
    gnn_propagate_block(op, topology, x, GNN_S16, first, rows, y, GNN_S16, y_stride, scratch);
}
