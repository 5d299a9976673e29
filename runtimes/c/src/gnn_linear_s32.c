/* In: a block of int16 rows. Out: the int32 accumulators of a Linear. */
#include "gnn_linear.h"

void gnn_linear_s32(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, int32_t *y, int8_t *scratch)
{
#if defined(GNN_DSP)
    gnn_linear_sums(layer, x, rows, y, scratch);
#else
    gnn_linear_block(layer, x, rows, NULL, GNN_S32, y, layer->out, scratch);
#endif
}
