/* In: a block of int16 rows. Out: int8 codes of a Linear. */
#include "gnn_linear.h"

void gnn_linear_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int8_t *y, int8_t *scratch)
{
    gnn_linear_block(layer, x, rows, row_factor, GNN_S8, y, layer->out, scratch);
}
