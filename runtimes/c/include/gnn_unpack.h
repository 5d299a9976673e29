/* Weights of 4 and 2 bits. */
#ifndef GNN_UNPACK_H
#define GNN_UNPACK_H

#include "gnn_copy.h"
#include "gnn_variant.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One row of `in` codes of 4 or 2 bits as int8, in the same order; `in` is a multiple of 4. y lies on 4 bytes. */
GNN_SHARED void gnn_unpack(const uint8_t *packed, uint32_t bits, uint32_t in, int8_t *y)
{
    const int8_t *const end = y + in;
#if defined(GNN_DSP)
    /* Four codes at a time: spread over the bytes of a word, then code ^ sign - sign. */
    if (bits == 4u) {
        do {
            uint32_t codes = 0;
            GNN_COPY(&codes, packed, 2u);
            packed += 2;
            codes = (codes | codes << 8) & 0x00FF00FFu;
            codes = ((codes | codes << 4) & 0x0F0F0F0Fu) ^ 0x08080808u;
            __asm__("ssub8 %0, %0, %1" : "+r"(codes) : "r"(0x08080808u));
            GNN_COPY(y, &codes, 4u);
            y += 4;
        } while (y != end);
    } else {
        do {
            uint32_t codes = *packed++;
            codes = (codes | codes << 12) & 0x000F000Fu;
            codes = ((codes | codes << 6) & 0x03030303u) ^ 0x02020202u;
            __asm__("ssub8 %0, %0, %1" : "+r"(codes) : "r"(0x02020202u));
            GNN_COPY(y, &codes, 4u);
            y += 4;
        } while (y != end);
    }
#else
    const uint32_t sign = 1u << (bits - 1u);
    while (y != end) {
        uint32_t codes = *packed++, left;
        for (left = 8u; left != 0u; left -= bits) {
            *y++ = (int8_t)((int32_t)((codes & (2u * sign - 1u)) ^ sign) - (int32_t)sign);
            codes >>= bits;
        }
    }
#endif
}

#ifdef __cplusplus
}
#endif
#endif
