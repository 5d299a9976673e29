/* In: a block of int16 rows. Out: int16 codes of a Linear. */
#include "gnn_linear.h"

void gnn_linear_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int16_t *y,
                    uint32_t y_stride, int8_t *scratch)
{
    gnn_linear_block(layer, x, rows, row_factor, GNN_S16, y, y_stride, scratch);
}
