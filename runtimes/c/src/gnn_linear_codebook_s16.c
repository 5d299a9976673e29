/* In: a block of int16 rows. Out: int16 codes of a Linear with weights from a codebook. */
#include "gnn_codebook.h"

void gnn_linear_codebook_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                             int16_t *y, uint32_t y_stride, int8_t *scratch, uint32_t panel)
{
    gnn_linear_panels(layer, gnn_indices(layer), gnn_decode_codebook, x, rows, row_factor, GNN_S16, y, y_stride, scratch, panel);
}
