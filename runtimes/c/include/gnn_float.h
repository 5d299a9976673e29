/* What every float kernel starts from: no fused multiply-add, and floats as their IEEE 754 bits. */
#ifndef GNN_FLOAT_H
#define GNN_FLOAT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A fused multiply-add rounds once where * and + round twice, so results would depend on the target. gcc does not fuse with -std=c99. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

/* Minus infinity, where a maximum starts. */
#define GNN_LOWEST_BITS 0xFF800000u
/* Infinity, where a minimum starts. */
#define GNN_HIGHEST_BITS 0x7F800000u

typedef union gnn_float_bits {
    float value;
    uint32_t bits;
} gnn_float_bits;

static inline uint32_t gnn_bits_of(float x)
{
    gnn_float_bits u;
    u.value = x;
    return u.bits;
}

static inline float gnn_float_of(uint32_t bits)
{
    gnn_float_bits u;
    u.bits = bits;
    return u.value;
}

/* Whether x is neither infinite nor NaN. It looks at the bits, so it holds under -ffast-math. */
static inline int gnn_is_finite(float x)
{
    return (gnn_bits_of(x) & GNN_HIGHEST_BITS) != GNN_HIGHEST_BITS;
}

static inline float gnn_relu(float x)
{
    return x > 0.0f ? x : 0.0f;
}

#ifdef __cplusplus
}
#endif
#endif
