/* A float in, its code out. */
#ifndef GNN_QUANTIZE_H
#define GNN_QUANTIZE_H

#include "gnn_requantize.h"
#include "gnn_round.h"

#ifdef __cplusplus
extern "C" {
#endif

/* clamp(rint(x * inverse_scale) + zero_point, low, high); NaN gives low. */
static GNN_INLINE int32_t gnn_quantized(const gnn_quantize_op *op, float x)
{
    const float scaled = x * op->inverse_scale;
#if defined(GNN_DSP) && defined(__ARM_FP)
    float rounded;
    int32_t code;
    if (!(scaled == scaled)) {
        return op->low;
    }
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(rounded) : "t"(scaled)); /* half to even, saturating */
    code = (int32_t)gnn_bits_of(rounded);
    __asm__("qadd %0, %0, %1" : "+r"(code) : "r"((int32_t)op->zero_point));
    return gnn_clamp(code, op->low, op->high);
#else
    return gnn_round_f32(scaled, op->low - op->zero_point, op->high - op->zero_point) + op->zero_point;
#endif
}

#ifdef __cplusplus
}
#endif
#endif
