/* The fixed-point primitives of toolchain.ir.integer, exact on every target: row factors in Q31 and their product. No division of 64 bits. */
#ifndef GNN_FIXED_H
#define GNN_FIXED_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_Q31_ONE INT32_MAX /* what stands for 1 */

/* Rounding doubling high multiply, (a * r + 2^30) >> 31 with r >= 0. It never saturates. (NEON sqrdmulh, MVE VQRDMULH.) */
static inline int32_t gnn_srdhm(int32_t a, int32_t r)
{
    return (int32_t)(((int64_t)a * r + ((int64_t)1 << 30)) >> 31);
}

/* Whether t * t * d < 2^64. */
static inline int gnn_square_fits(uint32_t t, uint32_t d)
{
    const uint64_t square = (uint64_t)t * t;
    const uint64_t high = (square >> 32) * d, low = (square & UINT32_MAX) * d;
    return ((high + (low >> 32)) >> 32) == 0;
}

/* 1 / sqrt(X) in Q30, within 2 units, for X = x / 2^32 in [1/4, 1): x >= 2^30. Six Newton steps from 1. */
static inline uint32_t gnn_rsqrt_near(uint32_t x)
{
    uint32_t r = UINT32_C(1) << 30, step;
    for (step = 0; step < 6u; ++step) {
        r = (uint32_t)(((uint64_t)r * (0xC0000000u - (uint32_t)(((((uint64_t)r * r) >> 31) * x) >> 31))) >> 31);
    }
    return r;
}

/* round(2^31 / sqrt(degree)), at most 2^31 - 1; 0 for degree 0. The largest y with (2 y - 1)^2 degree < 2^64. */
static inline int32_t gnn_rsqrt_q31(uint32_t degree)
{
    uint32_t x = degree; /* degree * 4^k, at least 2^30 */
    uint32_t down = 15;  /* 15 - k */
    uint32_t y;
    if (degree <= 1u) {
        return degree == 0u ? 0 : GNN_Q31_ONE;
    }
    if (x < 1u << 16) { x <<= 16; down -= 8u; }
    if (x < 1u << 24) { x <<= 8; down -= 4u; }
    if (x < 1u << 28) { x <<= 4; down -= 2u; }
    if (x < 1u << 30) { x <<= 2; down -= 1u; }
    y = (gnn_rsqrt_near(x) - 2u) >> down;
    while (y < (uint32_t)GNN_Q31_ONE && gnn_square_fits(2u * y + 1u, degree)) { ++y; } /* from at most a few units less to exact */
    return (int32_t)y;
}

/* round(2^31 / count), at most 2^31 - 1; 0 for count 0. */
static inline int32_t gnn_recip_q31(uint32_t count)
{
    uint32_t quotient; /* 2^32 / count from the division of 2^32 - 1, which fits 32 bits */
    if (count <= 1u) {
        return count == 0u ? 0 : GNN_Q31_ONE;
    }
    quotient = UINT32_MAX / count;
    if (UINT32_MAX - quotient * count == count - 1u) { ++quotient; }
    return (int32_t)((quotient + 1u) >> 1);
}

#ifdef __cplusplus
}
#endif
#endif
