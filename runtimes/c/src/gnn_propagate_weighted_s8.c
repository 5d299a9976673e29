/* In: int8 codes of all nodes and weights of all edges. Out: codes of a block of nodes, summed over their in-edges by weight. */
#include "gnn_propagate_weighted.h"

void gnn_propagate_weighted_s8(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const int8_t *x, const int16_t *edge_weight,
                               uint32_t first, uint32_t rows, gnn_type y_type, void *y, uint32_t y_stride)
{
    gnn_propagate_weighted_block(op, topology, x, GNN_S8, edge_weight, first, rows, y_type, y, y_stride);
}
