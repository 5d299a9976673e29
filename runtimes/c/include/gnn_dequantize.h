/* An integer times a float32 scale, rounded as through double, without double: most microcontrollers compute it in software only. */
#ifndef GNN_DEQUANTIZE_H
#define GNN_DEQUANTIZE_H

#include "gnn_float.h"
#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* (float)((double)magnitude * scale) for a magnitude of 24 bits or more and a normal scale. */
GNN_SHARED float gnn_dequantized_wide(uint32_t magnitude, float scale)
{
    const uint32_t bits = gnn_bits_of(scale);
    uint64_t product = (uint64_t)magnitude * ((bits & 0x7FFFFFu) | 0x800000u); /* of 2^(exponent - 150); up to 56 bits */
    uint32_t exponent = bits >> 23 & 0xFFu, width;
    for (width = 53; width != 0u; width = width == 53u ? 24u : 0u) { /* to the bits of a double, then to those of a float */
        uint32_t half = 0, rest = 0;                                  /* what is shifted out: its first bit, and whether any other is set */
        while (product >> width != 0u) {
            rest |= half;
            half = (uint32_t)product & 1u;
            product >>= 1;
            ++exponent;
        }
        product += half & (rest | ((uint32_t)product & 1u));
    }
    exponent = ((exponent - 1u) << 23) + (uint32_t)product; /* product is in [2^23, 2^24]; 2^24 carries into the exponent */
    return gnn_float_of((bits & 0x80000000u) | (exponent < GNN_HIGHEST_BITS ? exponent : GNN_HIGHEST_BITS));
}

/* (float)((double)(code - zero_point) * scale). */
static GNN_INLINE float gnn_dequantized(int32_t code, int32_t zero_point, float scale)
{
    uint32_t magnitude = (uint32_t)code - (uint32_t)zero_point;
    if (code < zero_point) {
        magnitude = 0u - magnitude;
        scale = -scale;
    }
    if (!GNN_USES_WIDE_SUMS || magnitude <= 0x1000000u) {
        return (float)(int32_t)magnitude * scale; /* 24 bits by 24 bits: the double would be exact, so there is one rounding either way */
    }
    return gnn_dequantized_wide(magnitude, scale);
}

#ifdef __cplusplus
}
#endif
#endif
