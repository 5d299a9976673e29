/* The integer Propagate of a block of rows, for any types of x and y. */
#ifndef GNN_PROPAGATE_H
#define GNN_PROPAGATE_H

#include "gnn_requantize.h"

#if defined(GNN_DSP)
#include "gnn_propagate_dsp.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* zero_point + ((total m + bias + 2^(s-1)) >> s), clamped: the bias joins before the only rounding. */
GNN_SHARED int32_t gnn_biased_code(const gnn_requant *requant, int32_t total, int32_t m, int64_t bias)
{
    const uint32_t s = requant->shift[0];
    const int32_t zero_point = requant->zero_point, low = requant->low - zero_point, high = requant->high - zero_point;
    const int64_t value = ((int64_t)total * m + bias + ((int64_t)1 << (s - 1u))) >> s;
    return (value < low ? low : value > high ? high : (int32_t)value) + zero_point;
}

/* t[c] = (S << self_shift) + self_scale (x_i - zero), with S the sum, the largest or the smallest of x_j - zero over `count` sources j. */
static GNN_INLINE void gnn_propagate_row(const gnn_propagate_op *op, const uint16_t *index, uint32_t count, const void *x, gnn_type type,
                                         uint32_t node, int32_t *t)
{
    const uint32_t channels = op->channels;
    const int is_sum = op->reduce == GNN_SUM || op->reduce == GNN_MEAN;
    const uint32_t counted = is_sum || count == 0u ? count : 1u; /* how many codes are in S, each with its zero point */
    const uint32_t zeros = ((counted << op->self_shift) + (uint32_t)op->self_scale) * (uint32_t)op->zero_point;
    uint32_t e, c;
    for (c = 0; c < channels; ++c) {
        t[c] = 0;
    }
    for (e = 0; e < count; ++e) {
        const size_t row = (size_t)index[e] * channels;
        for (c = 0; c < channels; ++c) {
            const int32_t code = gnn_load_code(x, type, row + c);
            if (is_sum) {
                t[c] += code;
            } else if (e == 0u || (op->reduce == GNN_MAX ? code > t[c] : code < t[c])) {
                t[c] = code;
            }
        }
    }
    for (c = 0; c < channels; ++c) {
        const uint32_t self = (uint32_t)op->self_scale * (uint32_t)gnn_load_code(x, type, (size_t)node * channels + c);
        t[c] = (int32_t)(((uint32_t)t[c] << op->self_shift) + self - zeros);
    }
}

static GNN_INLINE void gnn_propagate_block(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type,
                                           uint32_t first, uint32_t rows, void *y, gnn_type y_type, uint32_t y_stride, int32_t *scratch)
{
    const uint32_t end = first + rows;
    for (; first != end; ++first) {
        const uint32_t begin = topology->row_pointer[first], count = topology->row_pointer[first + 1u] - begin;
        const uint16_t *index = topology->source + begin;
        int32_t factor = GNN_NO_FACTOR;
        gnn_scale scale;
        if (op->factor == GNN_FACTOR_NORMALIZATION) {
            factor = topology->row_factor[first];
        } else if (op->factor == GNN_FACTOR_MEAN) {
            factor = gnn_recip_q31(count);
        }
        gnn_set_scale(&scale, &op->requant, 0, factor);
#if defined(GNN_DSP)
        if (x_type == GNN_S8 && gnn_can_sum_words(op, &scale, count, y_type)) {
            gnn_sum_words(op, &scale, index, count, (const int8_t *)x, first, y, y_type);
        } else
#endif
        {
            gnn_propagate_row(op, index, count, x, x_type, first, scratch);
            if (op->bias == NULL) {
                gnn_store_codes(&scale, scratch, op->channels, y_type, y);
            } else {
                int32_t m = op->requant.multiplier[0];
                uint32_t c;
                m = factor < 0 ? m : gnn_srdhm(m, factor);
                for (c = 0; c < op->channels; ++c) {
                    gnn_store_code(y, y_type, c, gnn_biased_code(&op->requant, scratch[c], m, op->bias[c]));
                }
            }
        }
        y = y_type == GNN_S8 ? (void *)((int8_t *)y + y_stride) : (void *)((int16_t *)y + y_stride);
    }
}

#ifdef __cplusplus
}
#endif
#endif
