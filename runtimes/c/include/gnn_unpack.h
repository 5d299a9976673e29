/* Weights of 4 and 2 bits. */
#ifndef GNN_UNPACK_H
#define GNN_UNPACK_H

#include "gnn_variant.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One row of `in` codes of 4 or 2 bits as int8, in the same order; `in` is a multiple of 4. */
GNN_SHARED void gnn_unpack(const uint8_t *packed, uint32_t bits, uint32_t in, int8_t *y)
{
    const uint32_t sign = 1u << (bits - 1u);
    const int8_t *const end = y + in;
    while (y != end) {
        uint32_t codes = *packed++, left;
        for (left = 8u; left != 0u; left -= bits) {
            *y++ = (int8_t)((int32_t)((codes & (2u * sign - 1u)) ^ sign) - (int32_t)sign);
            codes >>= bits;
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
