/* In: float rows. Out: a Linear with weights that are stored without their zeros. */
#include "gnn_linear_tiles_f32.h"

static inline void from_bitmap(gnn_packed_place *place, uint32_t index_bits, float *y)
{
    uint32_t bits = *place->index++;
    (void)index_bits;
    for (uint32_t o = 0; o < GNN_GROUP; ++o, bits >>= 1) {
        y[o] = (bits & 1u) != 0u ? *place->values++ : 0.0f;
    }
}

void gnn_linear_bitmap_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y)
{
    gnn_linear_tiles_f32(layer, from_bitmap, x, rows, scale, y);
}
