/* An integer times a float32 scale, rounded as through double, without double: most microcontrollers compute it in software only. */
#ifndef GNN_DEQUANTIZE_H
#define GNN_DEQUANTIZE_H

#include "gnn_float.h"
#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* value >> shift, rounded half to even. 1 <= shift <= 62. */
static GNN_INLINE uint64_t gnn_round_shift(uint64_t value, uint32_t shift)
{
    const uint64_t whole = value >> shift, half = (uint64_t)1 << (shift - 1u), rest = value & (2u * half - 1u);
    return whole + (rest > half || (rest == half && (whole & 1u) != 0u));
}

/* (float)((double)value * scale) for |value| <= 2^32 and a positive scale. */
static GNN_INLINE float gnn_dequantized(int64_t value, float scale)
{
    if (value >= -0x1000000 && value <= 0x1000000) {
        return (float)(int32_t)value * scale; /* 24 bits by 24 bits: the double would be exact, so there is one rounding either way */
    }
    {
        const uint32_t bits = gnn_bits_of(scale);
        uint64_t product = (uint64_t)(value < 0 ? -value : value);
        uint32_t exponent = bits >> 23;
        product *= exponent == 0u ? bits : (bits & 0x7FFFFFu) | 0x800000u; /* up to 57 bits */
        exponent = exponent == 0u ? 1u : exponent;
        /* to the 53 bits of a double, then to the 24 of a float */
        if (product >> 53 != 0u) {
            uint32_t shift = 1;
            while (product >> (53u + shift) != 0u) {
                ++shift;
            }
            product = gnn_round_shift(product, shift) << shift;
        }
        if (product >> 24 != 0u) {
            uint32_t shift = 1;
            while (product >> (24u + shift) != 0u) {
                ++shift;
            }
            product = gnn_round_shift(product, shift);
            exponent += shift;
            if (product >> 24 != 0u) {
                product >>= 1;
                ++exponent;
            }
        }
        while (product < 0x800000u && exponent > 1u) {
            product <<= 1;
            --exponent;
        }
        {
            const uint32_t magnitude = exponent > 254u ? GNN_HIGHEST_BITS : (exponent << 23) + (uint32_t)product - 0x800000u;
            return gnn_float_of(value < 0 ? magnitude | 0x80000000u : magnitude);
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
