/* The integer Linear with the vectors of x86: a lane is an output channel. Weights are transposed in registers, a square of words at a time, and
 * multiplied with pairs of values of a row that all lanes share. */
#ifndef GNN_LINEAR_X86_H
#define GNN_LINEAR_X86_H

#include "gnn_linear.h"
#include "gnn_vector_x86.h"

#if defined(GNN_X86)

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_SPAN (4u * GNN_VECTOR) /* inputs whose weights are transposed at a time: a word holds four */

/* The weights of GNN_SPAN inputs from `at` on, for `count` channels from `first` on: lane c of w[q] are those of input at + 4 q. */
static GNN_INLINE void gnn_turn_weights(const gnn_linear_layer *layer, uint32_t first, uint32_t count, uint32_t at, uint32_t span,
                                        gnn_vector w[GNN_VECTOR])
{
    const uint32_t in = gnn_padded(layer->in), bits = gnn_weight_bits(layer);
    uint32_t c;
    for (c = 0; c < GNN_VECTOR; ++c) {
        const uint8_t *const row = layer->weight + ((size_t)(first + (c < count ? c : 0u)) * in + at) * bits / 8u;
        if (bits == 8u) {
            w[c] = gnn_load_words(row, span / 4u);
        } else {
            int8_t codes[GNN_SPAN];
            gnn_unpack(row, bits, span, codes);
            w[c] = gnn_load_words(codes, span / 4u);
        }
    }
    gnn_transpose(w);
}

/* acc[r] lane c = bias[first + c] + sum_k x[r][k] weight[first + c][k] for GNN_ROWS rows. */
static GNN_INLINE void gnn_accumulate(const gnn_linear_layer *layer, const int16_t *x, uint32_t first, uint32_t count, gnn_vector acc[GNN_ROWS])
{
    const uint32_t in = gnn_padded(layer->in);
    gnn_vector more[GNN_ROWS];
    int32_t bias[GNN_VECTOR];
    uint32_t at, span, q, r;
    for (q = 0; q < count; ++q) {
        bias[q] = gnn_bias(layer, first + q);
    }
    for (r = 0; r < GNN_ROWS; ++r) {
        acc[r] = gnn_load_words(bias, count);
        more[r] = gnn_all(0);
    }
    for (at = 0; at < in; at += span) {
        const uint32_t most = at == 0u && in % 8u != 0u ? GNN_SPAN - 4u : GNN_SPAN; /* weights of 4 bits have groups of eight behind four */
        gnn_vector w[GNN_VECTOR];
        span = in - at < most ? in - at : most;
        gnn_turn_weights(layer, first, count, at, span, w);
        for (q = 0; q < span / 4u; ++q) {
            const gnn_vector even = gnn_even_bytes(w[q]), odd = gnn_odd_bytes(w[q]); /* weights 0 and 1, 2 and 3 */
            const int16_t *const four = x + at + 4u * q;
            for (r = 0; r < GNN_ROWS; ++r) {
                int32_t pair[2];
                GNN_COPY(pair, four + (size_t)r * in, 8u);
                acc[r] = gnn_add_products(acc[r], even, gnn_all(pair[0]));
                more[r] = gnn_add_products(more[r], odd, gnn_all(pair[1]));
            }
        }
    }
    for (r = 0; r < GNN_ROWS; ++r) {
        acc[r] = gnn_plus(acc[r], more[r]);
    }
}

/* What the channels of a vector are requantized with. */
typedef struct gnn_vector_scale {
    gnn_vector multiplier, rounding, shift;
    int is_high; /* whether the high word is enough for all of them */
} gnn_vector_scale;

static GNN_INLINE void gnn_set_vector_scale(gnn_vector_scale *scale, const gnn_linear_layer *layer, uint32_t first, uint32_t count)
{
    const gnn_requant *const requant = &layer->requant;
    uint32_t c, least = gnn_shift(layer, requant->per_channel ? first : 0u);
    gnn_vector shift;
    if (requant->per_channel) {
        uint8_t shifts[GNN_VECTOR];
        for (c = 0; c < count; ++c) {
            shifts[c] = (uint8_t)gnn_shift(layer, first + c);
            least = shifts[c] < least ? shifts[c] : least;
        }
        scale->multiplier = gnn_load_words(requant->multiplier + first, count);
        shift = gnn_load_bytes(shifts, count);
    } else {
        scale->multiplier = gnn_all(requant->multiplier[0]);
        shift = gnn_all((int32_t)least);
    }
    scale->is_high = least >= GNN_HIGH_SHIFT;
    scale->rounding = gnn_shifted_left(gnn_all(1), gnn_plus(shift, gnn_all(-(int32_t)GNN_HIGH_SHIFT)));
    scale->shift = gnn_plus(shift, gnn_all(-32));
}

/* y[c] = code of lane c, for `count` channels from `first` on. */
static GNN_INLINE void gnn_store_scaled(const gnn_vector_scale *scale, const gnn_requant *requant, gnn_vector acc, uint32_t first, uint32_t count,
                                        int32_t factor, gnn_type type, void *y)
{
    if (scale->is_high) {
        const gnn_vector m = factor < 0 ? scale->multiplier : gnn_doubled_high(scale->multiplier, factor);
        const gnn_vector lifted = gnn_shifted_left(acc, gnn_all((int32_t)requant->left_shift));
        const gnn_vector value = gnn_shifted_right(gnn_plus(scale->rounding, gnn_high_words(lifted, m)), scale->shift);
        gnn_store_vector(gnn_bounded(gnn_plus(value, gnn_all(requant->zero_point)), requant->low, requant->high), count, type, y);
    } else {
        int32_t sums[GNN_VECTOR];
        uint32_t c;
        gnn_store_words(sums, acc, GNN_VECTOR);
        for (c = 0; c < count; ++c) {
            gnn_scale one;
            gnn_set_scale(&one, requant, requant->per_channel ? first + c : 0u, factor);
            gnn_store_code(y, type, c, gnn_requantized(&one, sums[c]));
        }
    }
}

/* y[r][c] = code of the accumulator, or the accumulator itself for GNN_S32. */
static GNN_INLINE void gnn_linear_block(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                        gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const uint32_t size = type == GNN_S8 ? 1u : type == GNN_S16 ? 2u : 4u;
    uint32_t first, r;
    (void)scratch;
    for (first = 0; first < layer->out; first += GNN_VECTOR) {
        const uint32_t count = layer->out - first < GNN_VECTOR ? layer->out - first : GNN_VECTOR;
        gnn_vector acc[GNN_ROWS];
        gnn_vector_scale scale;
        gnn_accumulate(layer, x, first, count, acc);
        if (type != GNN_S32) {
            gnn_set_vector_scale(&scale, layer, first, count);
        }
        for (r = 0; r < rows; ++r) {
            void *const to = (uint8_t *)y + ((size_t)r * y_stride + first) * size;
            if (type == GNN_S32) {
                gnn_store_words(to, acc[r], count);
            } else {
                gnn_store_scaled(&scale, &layer->requant, acc[r], first, count, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r], type, to);
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
