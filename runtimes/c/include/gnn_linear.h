/* A block of rows of the integer Linear; gnn_linear_s8, _s16 and _s32 are its three output types. */
#ifndef GNN_LINEAR_H
#define GNN_LINEAR_H

#include "gnn_copy.h"
#include "gnn_requantize.h"
#include "gnn_unpack.h"

#ifdef __cplusplus
extern "C" {
#endif

/* in, rounded up to what weights and x are padded to. */
static GNN_INLINE uint32_t gnn_padded(uint32_t in)
{
    return (in + 3u) & ~3u;
}

/* The weights of an output channel, in scratch if they had to be unpacked. */
static GNN_INLINE const int8_t *gnn_weights(const gnn_linear_layer *layer, uint32_t c, int8_t *scratch)
{
    const uint32_t in = gnn_padded(layer->in), bits = layer->weight_bits;
    const uint8_t *const row = layer->weight + (size_t)c * (in * bits / 8u);
    if (bits == 8u) {
        return (const int8_t *)row;
    }
    gnn_unpack(row, bits, in, scratch);
    return scratch;
}

/* sum + the product of a row with the weights of an output channel. Sums wrap: parts of them may leave int32 where the whole does not. */
static GNN_INLINE int32_t gnn_dot(int32_t sum, const int16_t *x, const int8_t *w, uint32_t in)
{
    const int8_t *const end = w + in;
#if defined(GNN_DSP)
    do {
        uint32_t four, x01, x23;
        GNN_COPY(&four, w, 4u);
        GNN_COPY(&x01, x, 4u);
        GNN_COPY(&x23, x + 2, 4u);
        __asm__("sxtb16 r12, %1\n\t"
                "smlad %0, %2, r12, %0\n\t"
                "sxtb16 r12, %1, ror #8\n\t"
                "smlad %0, %3, r12, %0"
                : "+&r"(sum)
                : "r"(four), "r"(x01), "r"(x23)
                : "r12");
        x += 4;
        w += 4;
    } while (w != end);
    return sum;
#else
    uint32_t total = (uint32_t)sum;
    while (w != end) {
        total += (uint32_t)(x[0] * w[0]) + (uint32_t)(x[1] * w[2]) + (uint32_t)(x[2] * w[1]) + (uint32_t)(x[3] * w[3]);
        x += 4;
        w += 4;
    }
    return (int32_t)total;
#endif
}

/* y[r][c] = code of the accumulator, or the accumulator itself for GNN_S32; in plain C. */
static GNN_INLINE void gnn_linear_rows(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                       gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const uint32_t in = gnn_padded(layer->in);
    uint32_t c, r;
    for (c = 0; c < layer->out; ++c) {
        const int8_t *const w = gnn_weights(layer, c, scratch);
        for (r = 0; r < rows; ++r) {
            const int32_t acc = gnn_dot(layer->bias[c], x + (size_t)r * in, w, in);
            const size_t at = (size_t)r * y_stride + c;
            if (type == GNN_S32) {
                ((int32_t *)y)[at] = acc;
            } else {
                gnn_scale scale;
                gnn_set_scale(&scale, &layer->requant, layer->requant.per_channel ? c : 0u, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
                gnn_store_code(y, type, at, gnn_requantized(&scale, acc));
            }
        }
    }
}

#ifdef __cplusplus
}
#endif

#if defined(GNN_MVE)
#include "gnn_linear_mve.h"
#elif defined(GNN_DSP)
#include "gnn_linear_dsp.h"
#else
#define gnn_linear_block gnn_linear_rows
#endif

#endif
