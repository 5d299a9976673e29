/* Weights as indices of a codebook. */
#ifndef GNN_CODEBOOK_H
#define GNN_CODEBOOK_H

#include "gnn_linear_panels.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline const uint8_t *gnn_decode_codebook(const gnn_linear_layer *layer, const uint8_t *packed, int8_t *y)
{
    const uint32_t bits = layer->weight_bits, mask = (1u << bits) - 1u;
    const int8_t *const codebook = (const int8_t *)layer->weight, *const end = y + gnn_padded(layer->in);
    uint32_t held = 0, count = 0;
    if (bits == 4u) {
        for (; y != end; y += 2) {
            const uint32_t both = *packed++;
            y[0] = codebook[both & 15u];
            y[1] = codebook[both >> 4];
        }
    }
    for (; y != end; y += 4) { /* the indices of four weights take 32 bits at most, and what is held of the next byte 4 */
        for (; count < 4u * bits; count += 8u) {
            held |= (uint32_t)*packed++ << count;
        }
        y[0] = codebook[held & mask];
        held >>= bits;
        y[1] = codebook[held & mask];
        held >>= bits;
        y[2] = codebook[held & mask];
        held >>= bits;
        y[3] = codebook[held & mask];
        held >>= bits;
        count -= 4u * bits;
    }
    return packed;
}

/* Where the indices begin. */
static GNN_INLINE const uint8_t *gnn_indices(const gnn_linear_layer *layer)
{
    return layer->weight + ((size_t)1 << layer->weight_bits);
}

#ifdef __cplusplus
}
#endif
#endif
