/* In: a block of int16 rows. Out: int8 codes of a Linear with weights that are stored without their zeros. */
#include "gnn_bitmap.h"

void gnn_linear_bitmap_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                           int8_t *y, int8_t *scratch, uint32_t panel)
{
    gnn_linear_panels(layer, layer->weight, gnn_decode_bitmap, x, rows, row_factor, GNN_S8, y, layer->out, scratch, panel);
}
