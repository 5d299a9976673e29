/* The integer Linear on packed weights: a panel of output channels is unpacked to 8 bits, then computed as any other. */
#ifndef GNN_LINEAR_PANELS_H
#define GNN_LINEAR_PANELS_H

#include "gnn_kernels_packed.h"
#include "gnn_linear.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Unpacks one row of weights; returns where the next one begins. */
typedef const uint8_t *gnn_decode(const gnn_linear_layer *layer, const uint8_t *packed, int8_t *y);

static GNN_INLINE void gnn_linear_panels(const gnn_linear_layer *layer, const uint8_t *packed, gnn_decode *decode, const int16_t *x,
                                         uint32_t rows, const int32_t *row_factor, gnn_type type, void *y, uint32_t y_stride,
                                         int8_t *scratch, uint32_t panel)
{
    const uint32_t in = gnn_padded(layer->in), out = layer->out, size = type == GNN_S8 ? 1u : 2u;
    gnn_linear_layer part = *layer;
    uint32_t first, c;
    part.weight = (const uint8_t *)scratch;
    part.weight_bits = 8;
    for (first = 0; first < out; first += panel) {
        const uint32_t count = out - first < panel ? out - first : panel;
        for (c = 0; c < count; ++c) {
            packed = decode(layer, packed, scratch + (size_t)c * in);
        }
        part.out = (uint16_t)count;
        gnn_linear_block(&part, x, rows, row_factor, type, (uint8_t *)y + (size_t)first * size, y_stride, scratch);
        part.bias += count;
        if (part.requant.per_channel != 0u) {
            part.requant.multiplier += count;
            part.requant.shift += count;
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
