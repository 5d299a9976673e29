/* Accumulators in, codes out: toolchain.ir.integer.requantize, exactly, for every shift in 1..62 and every int32 accumulator.
 *
 * From s = 33 on only the high word of the product matters, since the rounding constant has no bit below it:
 *     (acc m + 2^(s-1)) >> s  ==  (high(acc m) + 2^(s-33)) >> (s - 32).
 * A smaller s is raised to 33 by doubling m, and once that is full (m >= 2^30) by doubling acc. Where acc would leave int32, it
 * saturates: the result is then 2^28 or more, far beyond every clamp. A left shift of acc is the same as a smaller s. */
#ifndef GNN_REQUANTIZE_H
#define GNN_REQUANTIZE_H

#include "gnn_fixed.h"
#include "gnn_kernels.h"
#include "gnn_variant.h"

#if defined(GNN_MVE)
#include <arm_mve.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_HIGH_SHIFT 33u /* smallest shift for which the high word is enough */
#define GNN_NO_FACTOR (-1)
#define GNN_LANE_COUNT 255u /* int8 codes whose sum fits 16 bits, all of them -128 */

/* A requantization ready for many accumulators of one multiplier. */
typedef struct gnn_scale {
    const gnn_requant *requant; /* zero point and bounds */
    int32_t multiplier, rounding;
    uint32_t shift; /* s - 32 */
    uint32_t lift;  /* left shift of the accumulator, saturating; usually 0 */
} gnn_scale;

/* acc << lift, saturated. From 31 on every acc but 0 and -1 saturates either way. Without small shifts it is the left shift of the exporter,
 * which always fits. */
static GNN_INLINE int32_t gnn_lift(int32_t acc, uint32_t lift)
{
    if (!GNN_USES_SMALL_SHIFTS) {
        return (int32_t)((uint32_t)acc << lift);
    }
    if (lift == 0u) {
        return acc;
    }
#if defined(GNN_DSP)
    do {
        __asm__("qadd %0, %0, %0" : "+r"(acc));
    } while (--lift != 0u);
    return acc;
#else
    lift = lift < 31u ? lift : 31u;
    const int32_t most = INT32_MAX >> lift;
    return acc > most ? INT32_MAX : acc < -most - 1 ? INT32_MIN : (int32_t)((uint32_t)acc << lift);
#endif
}

/* addend + the high word of a * b. The sum fits: |a b| < 2^62 and |addend| <= 2^30. */
static GNN_INLINE int32_t gnn_add_high(int32_t addend, int32_t a, int32_t b)
{
#if defined(GNN_DSP)
    int32_t sum;
    __asm__("smmla %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(addend));
    return sum;
#else
    return addend + (int32_t)(((int64_t)a * b) >> 32);
#endif
}

static GNN_INLINE int32_t gnn_clamp(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    return value > high ? high : value;
}

static GNN_INLINE void gnn_store_code(void *y, gnn_type type, size_t at, int32_t code)
{
    if (type == GNN_S8) {
        ((int8_t *)y)[at] = (int8_t)code;
    } else {
        ((int16_t *)y)[at] = (int16_t)code;
    }
}

static GNN_INLINE int32_t gnn_load_code(const void *x, gnn_type type, size_t at)
{
    return type == GNN_S8 ? ((const int8_t *)x)[at] : type == GNN_S16 ? ((const int16_t *)x)[at] : ((const int32_t *)x)[at];
}

#if defined(GNN_DSP)
#define GNN_ROUNDING_LIMIT 23u /* for a zero point of 8 bits, |2 z + 1| << (s - 33) < 2^30 while s - 33 is less */

static GNN_INLINE uint32_t gnn_both_halves(int32_t bound)
{
    return ((uint32_t)bound & 0xFFFFu) * 0x10001u;
}
#endif

/* A code of any type, where speed matters less than size. */
GNN_SHARED int32_t gnn_any_code(const void *x, gnn_type type, size_t at)
{
    return gnn_load_code(x, type, at);
}

/* gnn_recip_q31, once in a program. */
GNN_SHARED int32_t gnn_mean_factor(uint32_t count)
{
    return gnn_recip_q31(count);
}

/* The scale of multiplier[c], or of srdhm(multiplier[c], factor) unless factor is GNN_NO_FACTOR. */
GNN_SHARED void gnn_set_scale(gnn_scale *scale, const gnn_requant *requant, uint32_t c, int32_t factor)
{
    uint32_t s = (uint32_t)requant->shift[c] - (GNN_USES_SMALL_SHIFTS ? requant->left_shift : 0u);
    uint32_t lift = GNN_USES_SMALL_SHIFTS ? 0u : requant->left_shift;
    int32_t m = requant->multiplier[c];
    if (factor >= 0) {
        m = gnn_srdhm(m, factor);
    }
    while (GNN_USES_SMALL_SHIFTS && s < GNN_HIGH_SHIFT) {
        if (m < 0x40000000) {
            m *= 2;
        } else {
            ++lift;
        }
        ++s;
    }
    scale->requant = requant;
    scale->multiplier = m;
    scale->rounding = (int32_t)1 << (s - GNN_HIGH_SHIFT);
    scale->shift = s - 32u;
    scale->lift = lift;
}

/* The code of an accumulator. */
static GNN_INLINE int32_t gnn_requantized(const gnn_scale *scale, int32_t acc)
{
    acc = gnn_lift(acc, scale->lift);
    acc = (gnn_add_high(scale->rounding, acc, scale->multiplier) >> scale->shift) + scale->requant->zero_point;
    return gnn_clamp(acc, scale->requant->low, scale->requant->high);
}

/* y[i] = code of acc[i]. */
GNN_SHARED void gnn_store_codes(const gnn_scale *scale, const int32_t *acc, uint32_t count, gnn_type type, void *y)
{
#if defined(GNN_MVE)
    const int32x4_t multiplier = vdupq_n_s32(scale->multiplier);
    const int32x4_t low = vdupq_n_s32(scale->requant->low), high = vdupq_n_s32(scale->requant->high);
    uint32_t i;
    for (i = 0; i < count; i += 4u) {
        const mve_pred16_t used = vctp32q(count - i);
        int32x4_t value = vqshlq_r_s32(vldrwq_z_s32(acc + i, used), (int32_t)(scale->lift < 31u ? scale->lift : 31u));
        value = vrshlq_n_s32(vmulhq_s32(value, multiplier), -(int32_t)scale->shift);
        value = vminq_s32(vmaxq_s32(vaddq_n_s32(value, scale->requant->zero_point), low), high);
        if (type == GNN_S8) {
            vstrbq_p_s32((int8_t *)y + i, value, used);
        } else {
            vstrhq_p_s32((int16_t *)y + i, value, used);
        }
    }
#else
    /* copies: as far as a compiler knows, y may lie on them */
    const int32_t multiplier = scale->multiplier, rounding = scale->rounding, zero_point = scale->requant->zero_point;
    const int32_t low = scale->requant->low, high = scale->requant->high;
    const uint32_t shift = scale->shift, lift = scale->lift;
    uint32_t i;
    for (i = 0; i < count; ++i) {
        int32_t value = gnn_lift(acc[i], lift);
        value = (gnn_add_high(rounding, value, multiplier) >> shift) + zero_point;
        gnn_store_code(y, type, i, gnn_clamp(value, low, high));
    }
#endif
}

#ifdef __cplusplus
}
#endif
#endif
