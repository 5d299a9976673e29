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
    const int8_t *const end = y + in;
    if (GNN_USES_WEIGHTS_OF_4_BITS && (!GNN_USES_WEIGHTS_OF_2_BITS || bits == 4u)) {
        uint32_t step = in % 8u != 0u ? 1u : 2u; /* bytes 0 and 1, then bytes 0, 2, 1 and 3 of each four */
#if defined(GNN_MVE)
        if (step == 2u) {
            const uint32_t done = gnn_unpack_vectors(packed, in, y);
            packed += done / 2u;
            y += done;
        }
#endif
        while (y != end) {
            const uint8_t *const stop = packed + step;
            for (; packed != stop; ++packed) {
                const uint32_t first = packed[0], second = packed[step];
                y[0] = (int8_t)((int32_t)(first & 15u) - 8);
                y[1] = (int8_t)((int32_t)(first >> 4) - 8);
                y[2] = (int8_t)((int32_t)(second & 15u) - 8);
                y[3] = (int8_t)((int32_t)(second >> 4) - 8);
                y += 4;
            }
            packed += step;
            step = 2;
        }
    } else {
        while (y != end) {
            uint32_t codes = *packed++, left;
            for (left = 4u; left != 0u; --left) {
                *y++ = (int8_t)((int32_t)(codes & 3u) - 2);
                codes >>= 2;
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
