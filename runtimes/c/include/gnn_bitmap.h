/* Weights without their zeros, behind one bit for each weight or each four weights. */
#ifndef GNN_BITMAP_H
#define GNN_BITMAP_H

#include "gnn_linear_panels.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline const uint8_t *gnn_decode_bitmap(const gnn_linear_layer *layer, const uint8_t *packed, int8_t *y)
{
    const uint32_t in = gnn_padded(layer->in), step = layer->weight_bits == 8u ? 4u : 1u; /* bits of four weights */
    const uint8_t *map = packed;
    uint32_t at, bits = 0;
    packed += (in / 4u * step + 7u) / 8u;
    for (at = 0; at < in / 4u; ++at, y += 4, bits >>= step) {
        if (at * step % 8u == 0u) {
            bits = *map++;
        }
        if (step == 1u) {
            if ((bits & 1u) != 0u) {
                GNN_COPY(y, packed, 4u);
                packed += 4;
            } else {
                GNN_COPY(y, "\0\0\0", 4u);
            }
        } else {
            y[0] = (bits & 1u) != 0u ? (int8_t)*packed++ : 0;
            y[1] = (bits & 2u) != 0u ? (int8_t)*packed++ : 0;
            y[2] = (bits & 4u) != 0u ? (int8_t)*packed++ : 0;
            y[3] = (bits & 8u) != 0u ? (int8_t)*packed++ : 0;
        }
    }
    return packed;
}

#ifdef __cplusplus
}
#endif
#endif
