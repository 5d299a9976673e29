/* The integer Linear with vectors of 16 bytes (Cortex-M55): products of eight values of a row at a time, then the codes of four rows at once. */
#ifndef GNN_LINEAR_MVE_H
#define GNN_LINEAR_MVE_H

#include "gnn_linear.h"

#if defined(GNN_MVE)

#ifdef __cplusplus
extern "C" {
#endif

/* Eight weights from the order 0, 2, 1, 3 of each four to that of x: `middle` are lanes 1 and 2 of each four, which are exchanged. */
static GNN_INLINE int16x8_t gnn_ordered(int16x8_t weights, mve_pred16_t middle)
{
    return vpselq_s16(vrev64q_s16(weights), weights, middle);
}

/* { bias + sum_k x[r][k] w[k] } for GNN_ROWS rows of length in, a multiple of 4. */
static GNN_INLINE int32x4_t gnn_dot_rows(const int16_t *x, const int8_t *w, uint32_t in, int32_t bias)
{
    const int16_t *x1 = x + in, *x2 = x1 + in, *x3 = x2 + in;
    uint32_t left = in / 16u;
    int32_t a0 = bias, a1 = bias, a2 = bias, a3 = bias;
    int32x4_t sums = vdupq_n_s32(0);
    if (left != 0u) {
        /* Sixteen at a time. Even and odd bytes of the weights are values 0, 1, 4, 5, ... and 2, 3, 6, 7, ..., as are even and odd words of x.
         * Written out, since gcc 12 moves what VLD2 loads through memory. */
        __asm__ volatile("1:\n\t"
                         "vldrb.u8 q2, [%[w]], #16\n\t"
                         "vmovlb.s8 q3, q2\n\t"
                         "vmovlt.s8 q2, q2\n\t"
                         "vld20.32 {q0, q1}, [%[x]]\n\t"
                         "vld21.32 {q0, q1}, [%[x]]!\n\t"
                         "vmlava.s16 %[a0], q0, q3\n\t"
                         "vmlava.s16 %[a0], q1, q2\n\t"
                         "vld20.32 {q0, q1}, [%[x1]]\n\t"
                         "vld21.32 {q0, q1}, [%[x1]]!\n\t"
                         "vmlava.s16 %[a1], q0, q3\n\t"
                         "vmlava.s16 %[a1], q1, q2\n\t"
                         "vld20.32 {q0, q1}, [%[x2]]\n\t"
                         "vld21.32 {q0, q1}, [%[x2]]!\n\t"
                         "vmlava.s16 %[a2], q0, q3\n\t"
                         "vmlava.s16 %[a2], q1, q2\n\t"
                         "vld20.32 {q0, q1}, [%[x3]]\n\t"
                         "vld21.32 {q0, q1}, [%[x3]]!\n\t"
                         "vmlava.s16 %[a3], q0, q3\n\t"
                         "vmlava.s16 %[a3], q1, q2\n\t"
                         "subs %[left], #1\n\t"
                         "bne 1b"
                         : [x] "+r"(x), [x1] "+r"(x1), [x2] "+r"(x2), [x3] "+r"(x3), [w] "+r"(w), [left] "+r"(left), [a0] "+Te"(a0),
                           [a1] "+Te"(a1), [a2] "+Te"(a2), [a3] "+Te"(a3)
                         :
                         : "q0", "q1", "q2", "q3", "cc", "memory");
    }
    for (left = in % 16u; left != 0u; left -= left < 8u ? left : 8u) {
        const mve_pred16_t used = vctp16q(left);
        uint32_t middle = 0x3C3Cu; /* the bytes of lanes 1, 2, 5 and 6 */
        int16x8_t weights;
        __asm__("" : "+r"(middle)); /* gcc 12 makes another constant of it */
        weights = gnn_ordered(vldrbq_z_s16(w, used), (mve_pred16_t)middle);
        a0 = vmladavaq_s16(a0, vldrhq_z_s16(x, used), weights);
        a1 = vmladavaq_s16(a1, vldrhq_z_s16(x1, used), weights);
        a2 = vmladavaq_s16(a2, vldrhq_z_s16(x2, used), weights);
        a3 = vmladavaq_s16(a3, vldrhq_z_s16(x3, used), weights);
        x += 8, x1 += 8, x2 += 8, x3 += 8, w += 8;
    }
    sums = vsetq_lane_s32(a0, sums, 0);
    sums = vsetq_lane_s32(a1, sums, 1);
    sums = vsetq_lane_s32(a2, sums, 2);
    return vsetq_lane_s32(a3, sums, 3);
}

/* y[r][c] = code, or the accumulator for GNN_S32. */
static GNN_INLINE void gnn_linear_block(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                        gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const gnn_requant requant = layer->requant; /* a copy: as far as a compiler knows, y may lie on it */
    const uint32_t in = gnn_padded(layer->in), out = layer->out, size = type == GNN_S8 ? 0u : type == GNN_S16 ? 1u : 2u;
    const uint32_t step = requant.per_channel != 0u;
    const mve_pred16_t stored = vctp32q(rows);
    const uint32x4_t offset = vmulq_n_u32(vidupq_n_u32(0, 1), y_stride << size);
    const int32x4_t factor = row_factor == NULL ? vdupq_n_s32(0) : vldrwq_z_s32(row_factor, stored);
    const int32x4_t low = vdupq_n_s32(requant.low), high = vdupq_n_s32(requant.high);
    const int8_t *w = (const int8_t *)layer->weight;
    uint32_t c, r, at = 0;
    for (c = 0; c < out; ++c) {
        int32x4_t value;
        if (layer->weight_bits != 8u) {
            w = gnn_weights(layer, c, scratch);
        }
        value = gnn_dot_rows(x, w, in, gnn_bias(layer, c));
        w += in;
        if (type != GNN_S32) {
            const uint32_t s = gnn_shift(layer, at);
            if (s >= GNN_HIGH_SHIFT) {
                int32x4_t m = vdupq_n_s32(requant.multiplier[at]);
                if (row_factor != NULL) {
                    m = vqrdmulhq_s32(m, factor);
                }
                value = vmulhq_s32(vshlq_r_s32(value, requant.left_shift), m);
                value = vaddq_n_s32(vrshlq_n_s32(value, 32 - (int32_t)s), requant.zero_point);
                value = vminq_s32(vmaxq_s32(value, low), high);
            } else {
                int32_t acc[GNN_ROWS];
                vstrwq_s32(acc, value);
                for (r = 0; r < rows; ++r) {
                    gnn_scale scale;
                    gnn_set_scale(&scale, &requant, at, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
                    acc[r] = gnn_requantized(&scale, acc[r]);
                }
                value = vldrwq_s32(acc);
            }
            at += step;
        }
        if (type == GNN_S8) {
            vstrbq_scatter_offset_p_s32((int8_t *)y + c, offset, value, stored);
        } else if (type == GNN_S16) {
            vstrhq_scatter_offset_p_s32((int16_t *)y + c, offset, value, stored);
        } else {
            vstrwq_scatter_offset_p_s32((int32_t *)y + c, offset, value, stored);
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
