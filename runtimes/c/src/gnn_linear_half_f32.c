/* In: float rows. Out: a Linear with weights of 16 bits, multiplied and added as float. */
#include "gnn_float.h"
#include "gnn_linear_tiles_f32.h"

#define SUBNORMAL 5.9604644775390625e-8f /* 2^-24, the least half above 0 */

/* Exact, also where the target takes subnormal floats for 0. */
static inline float from_half(uint32_t half)
{
    const uint32_t magnitude = half & 0x7fffu;
    const float small = (float)magnitude * SUBNORMAL;
    const float normal = gnn_float_of((half & 0x8000u) << 16 | ((magnitude << 13) + (112u << 23)));
    return magnitude >= 0x400u ? normal : (half & 0x8000u) != 0u ? -small : small;
}

static inline void from_halves(gnn_packed_place *place, uint32_t index_bits, float *y)
{
    (void)index_bits;
    for (uint32_t o = 0; o < GNN_GROUP; ++o) {
        y[o] = from_half((uint32_t)place->index[2u * o] | (uint32_t)place->index[2u * o + 1u] << 8);
    }
    place->index += 2u * GNN_GROUP;
}

void gnn_linear_half_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y)
{
    gnn_linear_tiles_f32(layer, from_halves, x, rows, scale, y);
}
