/* The integer Linear in plain C, written so that compilers find their vectors where there are any. */
#ifndef GNN_LINEAR_PLAIN_H
#define GNN_LINEAR_PLAIN_H

#include "gnn_linear.h"

#if !defined(GNN_DSP) && !defined(GNN_MVE) && !defined(GNN_X86)

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_TILE 16u /* output channels whose accumulators are kept. Sums wrap: parts of them may leave int32 where the whole does not. */

#if defined(GNN_VECTORS)

#define GNN_SPAN 256u /* values of a row at a time */

/* acc[r][c] of `count` channels from `first` on. Values go to the order of the weights and weights to 16 bits: then the sum is a product of
 * pairs of int16, for which processors have an instruction. */
static GNN_INLINE void gnn_accumulate(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, uint32_t first, uint32_t count,
                                      int8_t *scratch, int32_t acc[GNN_ROWS][GNN_TILE])
{
    const uint32_t in = gnn_padded(layer->in);
    int16_t ordered[GNN_ROWS][GNN_SPAN], wide[GNN_SPAN];
    uint32_t r, c, k, at;
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < count; ++c) {
            acc[r][c] = gnn_bias(layer, first + c);
        }
    }
    for (at = 0; at < in; at += GNN_SPAN) {
        const uint32_t span = in - at < GNN_SPAN ? in - at : GNN_SPAN;
        for (r = 0; r < rows; ++r) {
            const int16_t *const row = x + (size_t)r * in + at;
            for (k = 0; k < span; k += 4u) {
                ordered[r][k] = row[k];
                ordered[r][k + 1u] = row[k + 2u];
                ordered[r][k + 2u] = row[k + 1u];
                ordered[r][k + 3u] = row[k + 3u];
            }
        }
        for (c = 0; c < count; ++c) {
            const int8_t *const w = gnn_weights(layer, first + c, scratch) + at;
            for (k = 0; k < span; ++k) {
                wide[k] = w[k];
            }
            for (r = 0; r < rows; ++r) {
                uint32_t sum = 0;
                for (k = 0; k < span; ++k) {
                    sum += (uint32_t)(ordered[r][k] * wide[k]);
                }
                acc[r][c] = (int32_t)((uint32_t)acc[r][c] + sum);
            }
        }
    }
}

#else

/* acc[r][c] of `count` channels from `first` on: two rows at a time, so that each weight is loaded for both. */
static GNN_INLINE void gnn_accumulate(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, uint32_t first, uint32_t count,
                                      int8_t *scratch, int32_t acc[GNN_ROWS][GNN_TILE])
{
    const uint32_t in = gnn_padded(layer->in);
    uint32_t r, c;
    for (c = 0; c < count; ++c) {
        const int8_t *const weights = gnn_weights(layer, first + c, scratch), *const end = weights + in;
        for (r = 0; r < rows; r += 2u) { /* GNN_ROWS rows are there in any case */
            const int16_t *a = x + (size_t)r * in, *b = a + in;
            const int8_t *w = weights;
            uint32_t sum_a = (uint32_t)gnn_bias(layer, first + c), sum_b = sum_a;
            do {
                const int32_t w0 = w[0], w2 = w[1], w1 = w[2], w3 = w[3];
                sum_a += (uint32_t)(a[0] * w0);
                sum_b += (uint32_t)(b[0] * w0);
                sum_a += (uint32_t)(a[1] * w1);
                sum_b += (uint32_t)(b[1] * w1);
                sum_a += (uint32_t)(a[2] * w2);
                sum_b += (uint32_t)(b[2] * w2);
                sum_a += (uint32_t)(a[3] * w3);
                sum_b += (uint32_t)(b[3] * w3);
                a += 4;
                b += 4;
                w += 4;
            } while (w != end);
            acc[r][c] = (int32_t)sum_a;
            acc[r + 1u][c] = (int32_t)sum_b;
        }
    }
}

#endif

/* y[c] = code of acc[c] for `count` channels from `first` on, with multipliers of their own. */
static GNN_INLINE void gnn_store_channels(const gnn_linear_layer *layer, uint32_t first, uint32_t count, int32_t factor,
                                          const int32_t *acc, gnn_type type, void *y)
{
    const gnn_requant *const requant = &layer->requant;
    const int32_t *const multiplier = requant->multiplier + first;
    uint8_t shift[GNN_TILE];
    const int32_t zero_point = requant->zero_point, low = requant->low, high = requant->high;
    const uint32_t left_shift = requant->left_shift;
    uint32_t c, least = 62;
    for (c = 0; c < count; ++c) {
        shift[c] = (uint8_t)gnn_shift(layer, first + c);
        least = shift[c] < least ? shift[c] : least;
    }
    for (c = 0; c < count; ++c) {
        int32_t code;
        if (least >= GNN_HIGH_SHIFT) {
            const int32_t m = factor < 0 ? multiplier[c] : gnn_srdhm(multiplier[c], factor);
            const int32_t lifted = (int32_t)((uint32_t)acc[c] << left_shift);
            code = gnn_clamp((gnn_add_high((int32_t)1 << (shift[c] - GNN_HIGH_SHIFT), lifted, m) >> (shift[c] - 32u)) + zero_point, low, high);
        } else {
            gnn_scale scale;
            gnn_set_scale(&scale, requant, first + c, factor);
            code = gnn_requantized(&scale, acc[c]);
        }
        gnn_store_code(y, type, c, code);
    }
}

/* y[r][c] = code of the accumulator, or the accumulator itself for GNN_S32. */
static GNN_INLINE void gnn_linear_block(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                       gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const uint32_t size = type == GNN_S8 ? 1u : type == GNN_S16 ? 2u : 4u;
    int32_t acc[GNN_ROWS][GNN_TILE];
    uint32_t r, c, first;
    for (first = 0; first < layer->out; first += GNN_TILE) {
        const uint32_t count = layer->out - first < GNN_TILE ? layer->out - first : GNN_TILE;
        gnn_accumulate(layer, x, rows, first, count, scratch, acc);
        for (r = 0; r < rows; ++r) {
            void *const to = (uint8_t *)y + ((size_t)r * y_stride + first) * size;
            const int32_t factor = row_factor == NULL ? GNN_NO_FACTOR : row_factor[r];
            if (type == GNN_S32) {
                for (c = 0; c < count; ++c) {
                    ((int32_t *)to)[c] = acc[r][c];
                }
            } else if (layer->requant.per_channel) {
                gnn_store_channels(layer, first, count, factor, acc[r], type, to);
            } else {
                gnn_scale scale;
                gnn_set_scale(&scale, &layer->requant, 0, factor);
                gnn_store_codes(&scale, acc[r], count, type, to);
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
