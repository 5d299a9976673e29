/* Elementary functions of floats from + - * / alone, so that their bits are the same on every target. No argument traps. */
#ifndef GNN_MATH_H
#define GNN_MATH_H

#include "gnn_fixed.h"
#include "gnn_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* x = n ln 2 + r: returns exp(r) - 1, with a relative error of 1e-7, and *power = 2^n. Below -87 and above 88, x counts as that. */
static inline float gnn_exp_parts(float x, float *power)
{
    float n, r, p;
    int32_t whole;
    x = x > -87.0f ? x : -87.0f;
    x = x < 88.0f ? x : 88.0f;
    n = x * 1.44269504f;
    whole = (int32_t)(n + (n < 0.0f ? -0.5f : 0.5f));
    n = (float)whole;
    r = (x - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 as a short number, whose products are exact, and a rest */
    p = 1.39488e-3f;
    p = p * r + 8.36792e-3f;
    p = p * r + 4.166625e-2f;
    p = p * r + 1.6666533e-1f;
    p = p * r + 0.5f;
    *power = gnn_float_of((uint32_t)(whole + 127) << 23);
    return p * (r * r) + r;
}

static inline float gnn_exp(float x)
{
    float power;
    const float rest = gnn_exp_parts(x, &power);
    return power * rest + power;
}

/* exp(x) - 1, without cancellation. */
static inline float gnn_expm1(float x)
{
    float power;
    const float rest = gnn_exp_parts(x, &power);
    return power * rest + (power - 1.0f);
}

/* Natural logarithm of a positive normal number; exactly 0 for 1. */
static inline float gnn_log(float x)
{
    const uint32_t bits = gnn_bits_of(x) + (0x3F800000u - 0x3F3504F3u); /* the mantissa goes to [sqrt(1/2), sqrt(2)) */
    const float n = (float)((int32_t)(bits >> 23) - 127);
    const float f = gnn_float_of((bits & 0x007FFFFFu) + 0x3F3504F3u) - 1.0f;
    const float s = f / (2.0f + f);
    const float z = s * s;
    float p = 0.29885187f;
    p = p * z + 0.39977079f;
    p = p * z + 0.6666678f;
    return n * 0.693359375f + (n * -2.12194440e-4f + (2.0f * s + s * (z * p)));
}

/* Square root, rounded to nearest as IEEE 754 asks; 0 for x <= 0. */
static inline float gnn_sqrt(float x)
{
    uint32_t mantissa = gnn_bits_of(x) & 0x007FFFFFu;
    int32_t exponent = (int32_t)(gnn_bits_of(x) >> 23);
    uint32_t root;
    uint64_t square;
    if (!(x > 0.0f) || exponent == 255) {
        return x > 0.0f ? x : 0.0f;
    }
    if (exponent == 0) {
        for (exponent = 1; mantissa < 0x00800000u; --exponent) { mantissa <<= 1; }
    } else {
        mantissa |= 0x00800000u;
    }
    if ((exponent & 1) == 0) { /* x = mantissa * 2^(exponent - 150), now with an odd exponent */
        --exponent;
        mantissa <<= 1;
    }
    root = (uint32_t)(((uint64_t)mantissa * gnn_rsqrt_near(mantissa << 7)) >> 31);
    square = (uint64_t)mantissa << 25; /* what (2 root)^2 is near */
    while ((uint64_t)(2u * root + 1u) * (2u * root + 1u) < square) { ++root; }
    while ((uint64_t)(2u * root - 1u) * (2u * root - 1u) > square) { --root; }
    return gnn_float_of((((uint32_t)(exponent + 127) / 2u - 1u) << 23) + root); /* bit 23 of root is part of the exponent */
}

/* 1 / (1 + exp(-x)). */
static inline float gnn_sigmoid(float x)
{
    const float small = gnn_exp(x < 0.0f ? x : -x);
    return (x < 0.0f ? small : 1.0f) / (1.0f + small);
}

static inline float gnn_tanh(float x)
{
    const float minus = gnn_expm1(x < 0.0f ? 2.0f * x : -2.0f * x); /* exp(-2 |x|) - 1 */
    return (x < 0.0f ? minus : -minus) / (2.0f + minus);
}

/* The share of a normal distribution below x: (1 + erf(x / sqrt(2))) / 2, with a small relative error for negative x as well. */
static inline float gnn_normal_cdf(float x)
{
    const float t = (x < 0.0f ? -x : x) * 0.707106781f;
    const float u = 2.5f / (2.5f + t);
    float p = 4.02674668e-2f, upper; /* exp(t^2) erfc(t) as a polynomial in u, from a minimax fit on 0 <= t <= 9.5 */
    p = p * u - 1.35470916e-1f;
    p = p * u + 7.38418528e-2f;
    p = p * u + 9.97299020e-2f;
    p = p * u + 7.15080982e-2f;
    p = p * u + 1.96963109e-1f;
    p = p * u + 2.00958564e-1f;
    p = p * u + 2.26575712e-1f;
    p = p * u + 2.25626298e-1f;
    upper = 0.5f * gnn_exp(-t * t) * (p * u);
    return x < 0.0f ? upper : 1.0f - upper;
}

#ifdef __cplusplus
}
#endif
#endif
