/* Sums of int8 rows with vectors of 16 bytes (Cortex-M55): eight columns at a time, in lanes of 16 bits that hold 255 codes. */
#ifndef GNN_PROPAGATE_MVE_H
#define GNN_PROPAGATE_MVE_H

#include "gnn_row.h"

#if defined(GNN_MVE)

#ifdef __cplusplus
extern "C" {
#endif

/* Nothing is prepared for a block. */
typedef uint8_t gnn_words;

/* Whether gnn_sum_words can do rows; the others take the way of int16 rows. */
static GNN_INLINE int gnn_start_words(gnn_words *words, const gnn_propagate_op *op, gnn_type y_type)
{
    *words = (uint8_t)y_type;
    return gnn_is_sum(op);
}

/* One row of y. */
static GNN_INLINE void gnn_sum_words(const gnn_words *words, const gnn_propagate_op *op, const gnn_row *row, const int8_t *x, uint32_t node,
                                     void *y, gnn_type y_type)
{
    const uint32_t channels = op->channels;
    const uint16_t *const end = row->index + row->count;
    const int32_t self_shift = op->self_shift, self_scale = op->self_scale, zero_point = op->requant.zero_point;
    const int32_t base = (int32_t)(0u - ((row->count << self_shift) + (uint32_t)self_scale) * (uint32_t)op->zero_point);
    const int16x8_t low = vdupq_n_s16(op->requant.low), high = vdupq_n_s16(op->requant.high);
    const int8_t *const self = x + (size_t)node * channels;
    gnn_scale scale;
    int32x4_t multiplier, shift;
    int32_t lift;
    uint32_t c;
    (void)words;
    gnn_set_scale(&scale, &op->requant, 0, row->factor);
    multiplier = vdupq_n_s32(scale.multiplier);
    shift = vdupq_n_s32(-(int32_t)scale.shift);
    lift = (int32_t)(scale.lift < 31u ? scale.lift : 31u);
    for (c = 0; c < channels; c += 8u) {
        const mve_pred16_t used = vctp16q(channels - c);
        const int8_t *const columns = x + c;
        const uint16_t *index;
        int16x8_t sum = vdupq_n_s16(0), codes;
        int32x4_t even, odd; /* columns 0, 2, 4, 6 and 1, 3, 5, 7 */
        if (channels - c >= 8u) {
            for (index = row->index; index != end; ++index) {
                sum = vaddq_s16(sum, vldrbq_s16(columns + *index * channels));
            }
        } else {
            for (index = row->index; index != end; ++index) {
                sum = vaddq_s16(sum, vldrbq_z_s16(columns + *index * channels, used));
            }
        }
        even = vaddq_n_s32(vshlq_r_s32(vmovlbq_s16(sum), self_shift), base);
        odd = vaddq_n_s32(vshlq_r_s32(vmovltq_s16(sum), self_shift), base);
        if (self_scale != 0) {
            const int16x8_t own = vldrbq_z_s16(self + c, used);
            even = vmlaq_n_s32(even, vmovlbq_s16(own), self_scale);
            odd = vmlaq_n_s32(odd, vmovltq_s16(own), self_scale);
        }
        even = vmulhq_s32(vqshlq_r_s32(even, lift), multiplier);
        odd = vmulhq_s32(vqshlq_r_s32(odd, lift), multiplier);
        even = vaddq_n_s32(vrshlq_s32(even, shift), zero_point);
        odd = vaddq_n_s32(vrshlq_s32(odd, shift), zero_point);
        codes = vqmovntq_s32(vqmovnbq_s32(sum, even), odd); /* the lanes of sum are all replaced */
        codes = vminq_s16(vmaxq_s16(codes, low), high);
        if (y_type == GNN_S8) {
            vstrbq_p_s16((int8_t *)y + c, codes, used);
        } else {
            vstrhq_p_s16((int16_t *)y + c, codes, used);
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
