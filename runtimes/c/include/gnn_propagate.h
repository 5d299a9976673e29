/* The integer Propagate of a block of rows, for any types of x and y. */
#ifndef GNN_PROPAGATE_H
#define GNN_PROPAGATE_H

#include "gnn_requantize.h"
#include "gnn_sum_rows.h"

#if defined(GNN_DSP)
#include "gnn_propagate_dsp.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One row: where its in-edges are, and its requantization. */
typedef struct gnn_row {
    const uint16_t *index;
    uint32_t count;
    gnn_scale scale;
} gnn_row;

/* zero_point + ((total m + bias + 2^(s-1)) >> s), clamped: the bias joins before the only rounding. */
GNN_SHARED int32_t gnn_biased_code(const gnn_requant *requant, int32_t total, int32_t m, int64_t bias)
{
    const uint32_t s = requant->shift[0];
    const int32_t zero_point = requant->zero_point, low = requant->low - zero_point, high = requant->high - zero_point;
    const int64_t value = ((int64_t)total * m + bias + ((int64_t)1 << (s - 1u))) >> s;
    return (value < low ? low : value > high ? high : (int32_t)value) + zero_point;
}

static GNN_INLINE int gnn_is_sum(const gnn_propagate_op *op)
{
    return op->reduce == GNN_SUM || op->reduce == GNN_MEAN;
}

/* The Q31 factor of a row, or GNN_NO_FACTOR. */
static GNN_INLINE int32_t gnn_factor_of(const gnn_propagate_op *op, const gnn_topology *topology, uint32_t node, uint32_t count)
{
    if (op->factor == GNN_FACTOR_NORMALIZATION) {
        return topology->row_factor[node];
    }
    return op->factor == GNN_FACTOR_MEAN ? gnn_mean_factor(count) : GNN_NO_FACTOR;
}

/* Reads the row of a node. */
GNN_SHARED void gnn_start_row(gnn_row *row, const gnn_propagate_op *op, const gnn_topology *topology, uint32_t node)
{
    const uint32_t begin = topology->row_pointer[node], count = topology->row_pointer[node + 1u] - begin;
    row->index = topology->source + begin;
    row->count = count;
    gnn_set_scale(&row->scale, &op->requant, 0, gnn_factor_of(op, topology, node, count));
}

/* t[c] = the sum, the largest or the smallest code of column c over the row's sources. */
GNN_SHARED void gnn_reduce_columns(const gnn_propagate_op *op, const gnn_row *row, const void *x, gnn_type type, int32_t *t)
{
    const uint32_t channels = op->channels;
    uint32_t c, e;
    for (c = 0; c < channels; ++c) {
        int32_t total = 0;
        for (e = 0; e < row->count; ++e) {
            const int32_t code = gnn_load_code(x, type, (size_t)row->index[e] * channels + c);
            if (gnn_is_sum(op)) {
                total += code;
            } else if (e == 0u || (op->reduce == GNN_MAX ? code > total : code < total)) {
                total = code;
            }
        }
        t[c] = total;
    }
}

/* The codes of a row, from the reduced codes t: T = (S << self_shift) + self_scale (x_i - zero), requantized. */
GNN_SHARED void gnn_finish_row(const gnn_propagate_op *op, const gnn_topology *topology, const gnn_row *row, const void *x, gnn_type x_type,
                               uint32_t node, int32_t *t, gnn_type y_type, void *y)
{
    const uint32_t channels = op->channels;
    const uint32_t counted = gnn_is_sum(op) || row->count == 0u ? row->count : 1u; /* codes in S, each with its zero point */
    const int32_t zero_point = op->zero_point;
    const uint32_t zeros = ((counted << op->self_shift) + (uint32_t)op->self_scale) * (uint32_t)zero_point;
    uint32_t c;
    for (c = 0; c < channels; ++c) {
        const uint32_t self = (uint32_t)op->self_scale * (uint32_t)gnn_load_code(x, x_type, (size_t)node * channels + c);
        t[c] = (int32_t)(((uint32_t)t[c] << op->self_shift) + self - zeros);
    }
    if (op->bias == NULL) {
        gnn_store_codes(&row->scale, t, channels, y_type, y);
    } else {
        const int32_t factor = gnn_factor_of(op, topology, node, row->count);
        int32_t m = op->requant.multiplier[0];
        m = factor < 0 ? m : gnn_srdhm(m, factor);
        for (c = 0; c < channels; ++c) {
            gnn_store_code(y, y_type, c, gnn_biased_code(&op->requant, t[c], m, op->bias[c]));
        }
    }
}

static GNN_INLINE void gnn_propagate_block(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type,
                                           uint32_t first, uint32_t rows, void *y, gnn_type y_type, uint32_t y_stride, int32_t *scratch)
{
    const uint32_t end = first + rows;
    for (; first != end; ++first) {
        gnn_row row;
        gnn_start_row(&row, op, topology, first);
#if defined(GNN_DSP)
        if (x_type == GNN_S8 && gnn_can_sum_words(op, &row.scale, row.count, y_type)) {
            gnn_sum_words(op, &row.scale, row.index, row.count, (const int8_t *)x, first, y, y_type);
        } else
#endif
        {
            if (GNN_SUMS_ROWS(x_type) && gnn_is_sum(op)) {
                gnn_sum_rows(x, x_type, op->channels, row.index, row.count, scratch);
            } else {
                gnn_reduce_columns(op, &row, x, x_type, scratch);
            }
            gnn_finish_row(op, topology, &row, x, x_type, first, scratch, y_type, y);
        }
        y = y_type == GNN_S8 ? (void *)((int8_t *)y + y_stride) : (void *)((int16_t *)y + y_stride);
    }
}

#ifdef __cplusplus
}
#endif
#endif
