/* In: int8 codes. Out: codes of their inner products with one vector per head. */
#include "gnn_head_dot.h"

void gnn_head_dot_s8(const gnn_head_dot_op *op, const int8_t *x, uint32_t x_stride, uint32_t rows, void *y)
{
    gnn_head_dot_block(op, x, GNN_S8, x_stride, rows, y);
}
