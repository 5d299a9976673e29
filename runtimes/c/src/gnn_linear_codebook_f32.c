/* In: float rows. Out: a Linear with weights from a codebook. */
#include "gnn_linear_tiles_f32.h"

static inline void from_codebook(gnn_packed_place *place, uint32_t index_bits, float *y)
{
    const uint32_t mask = (1u << index_bits) - 1u;
    uint32_t held = 0, count = 0;
    for (uint32_t o = 0; o < GNN_GROUP; ++o) {
        if (count < index_bits) {
            held |= (uint32_t)*place->index++ << count;
            count += 8u;
        }
        y[o] = place->values[held & mask];
        held >>= index_bits;
        count -= index_bits;
    }
}

void gnn_linear_codebook_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y)
{
    gnn_linear_tiles_f32(layer, from_codebook, x, rows, scale, y);
}
