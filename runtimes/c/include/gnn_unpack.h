/* Weights of 4 and 2 bits. */
#ifndef GNN_UNPACK_H
#define GNN_UNPACK_H

#include "gnn_variant.h"

#include <stdint.h>

#if defined(GNN_MVE)
#include <arm_mve.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GNN_MVE)
/* Codes of 4 bits in groups of eight, 32 codes at a time; returns how many codes that are. */
static GNN_INLINE uint32_t gnn_unpack_vectors(const uint8_t *packed, uint32_t in, int8_t *y)
{
    static const uint8_t order[16] = {0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15};
    const uint8x16_t offset = vldrbq_u8(order);
    uint32_t k;
    for (k = 0; in - k >= 32u; k += 32u) {
        const uint8x16_t codes = vldrbq_gather_offset_u8(packed + k / 2u, offset);
        int8x16x2_t pair;
        pair.val[0] = vsubq_n_s8(vreinterpretq_s8_u8(vandq_u8(codes, vdupq_n_u8(15))), 8);
        pair.val[1] = vsubq_n_s8(vreinterpretq_s8_u8(vshrq_n_u8(codes, 4)), 8);
        vst2q_s8(y + k, pair);
    }
    return k;
}
#endif

/* One row of `in` codes of 4 or 2 bits as int8, in the order of codes of 8 bits; `in` is a multiple of 4. */
GNN_SHARED void gnn_unpack(const uint8_t *packed, uint32_t bits, uint32_t in, int8_t *y)
{
    uint32_t k = 0, byte;
    if (GNN_USES_WEIGHTS_OF_4_BITS && (!GNN_USES_WEIGHTS_OF_2_BITS || bits == 4u)) {
        uint32_t step = in % 8u != 0u ? 1u : 2u; /* bytes 0 and 1, then bytes 0, 2, 1 and 3 of each four */
#if defined(GNN_MVE)
        if (step == 2u) {
            k = gnn_unpack_vectors(packed, in, y);
            packed += k / 2u;
        }
#endif
        while (k < in) {
            for (byte = 0; byte < step; ++byte) {
                const uint32_t first = packed[byte], second = packed[step + byte];
                y[k] = (int8_t)((int32_t)(first & 15u) - 8);
                y[k + 1u] = (int8_t)((int32_t)(first >> 4) - 8);
                y[k + 2u] = (int8_t)((int32_t)(second & 15u) - 8);
                y[k + 3u] = (int8_t)((int32_t)(second >> 4) - 8);
                k += 4u;
            }
            packed += 2u * step;
            step = 2;
        }
    } else {
        for (; k < in; k += 4u) {
            const uint32_t codes = *packed++;
            for (byte = 0; byte < 4u; ++byte) {
                y[k + byte] = (int8_t)((int32_t)(codes >> (2u * byte) & 3u) - 2);
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
