/* A block of rows of the integer Linear; gnn_linear_s8, _s16 and _s32 are its three output types. */
#ifndef GNN_LINEAR_H
#define GNN_LINEAR_H

#include "gnn_requantize.h"
#include "gnn_unpack.h"

#if defined(GNN_DSP)
#include "gnn_linear_dsp.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

static GNN_INLINE int32_t gnn_add_product(int32_t sum, int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)sum + (uint32_t)(a * b)); /* wraps: partial sums may leave int32 where the whole does not */
}

/* sum + the product of a row with the weights of an output channel. */
static GNN_INLINE int32_t gnn_dot(int32_t sum, const int16_t *x, const int8_t *w, uint32_t in)
{
    uint32_t k;
    for (k = 0; k < in; k += 4u) {
        sum = gnn_add_product(sum, x[k], w[k]);
        sum = gnn_add_product(sum, x[k + 1u], w[k + 2u]);
        sum = gnn_add_product(sum, x[k + 2u], w[k + 1u]);
        sum = gnn_add_product(sum, x[k + 3u], w[k + 3u]);
    }
    return sum;
}

/* y[r][c] = code of the accumulator, or the accumulator itself for GNN_S32. */
static GNN_INLINE void gnn_linear_block(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                        gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const uint32_t in = (layer->in + 3u) & ~3u, bits = layer->weight_bits;
    const uint8_t *weight = layer->weight;
    uint32_t c, r;
#if defined(GNN_DSP)
    if (type != GNN_S32) {
        gnn_linear_dsp(layer, x, rows, row_factor, type, y, y_stride, scratch);
        return;
    }
#endif
    for (c = 0; c < layer->out; ++c) {
        const int8_t *w = (const int8_t *)weight;
        int32_t acc[GNN_ROWS];
        if (bits != 8u) {
            gnn_unpack(weight, bits, in, scratch);
            w = scratch;
        }
        weight += in * bits / 8u;
        for (r = 0; r < rows; ++r) {
            acc[r] = gnn_dot(layer->bias[c], x + (size_t)r * in, w, in);
        }
        for (r = 0; r < rows; ++r) {
            const size_t at = c + (size_t)r * y_stride;
            if (type == GNN_S32) {
                ((int32_t *)y)[at] = acc[r];
            } else {
                gnn_scale scale;
                gnn_set_scale(&scale, &layer->requant, layer->requant.per_channel ? c : 0u, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
                gnn_store_code(y, type, at, gnn_requantized(&scale, acc[r]));
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
