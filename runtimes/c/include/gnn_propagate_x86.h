/* Sums of int8 rows with the vectors of x86, in lanes of 16 bits that hold 255 codes. */
#ifndef GNN_PROPAGATE_X86_H
#define GNN_PROPAGATE_X86_H

#include "gnn_row.h"
#include "gnn_vector_x86.h"

#if defined(GNN_X86)

#ifdef __cplusplus
extern "C" {
#endif

/* Nothing is prepared for a block. */
typedef uint8_t gnn_words;

/* Whether gnn_sum_words can do rows; the others take the way of int16 rows. */
static GNN_INLINE int gnn_start_words(gnn_words *words, const gnn_propagate_op *op, gnn_type y_type)
{
    *words = (uint8_t)y_type;
    return gnn_is_sum(op);
}

/* The codes of `count` columns from the sums of their lanes. */
static GNN_INLINE void gnn_store_sums(const gnn_propagate_op *op, const gnn_scale *scale, gnn_vector sum, int32_t base, const int8_t *own,
                                      uint32_t count, gnn_type y_type, void *y)
{
    gnn_vector total = gnn_plus(gnn_shifted_left(sum, gnn_all(op->self_shift)), gnn_all(base));
    if (op->self_scale != 0) {
        total = gnn_plus(total, gnn_times(gnn_load_codes(own, count), gnn_all(op->self_scale)));
    }
    if (scale->lift == 0u) {
        const gnn_vector high = gnn_plus(gnn_high_words(total, gnn_all(scale->multiplier)), gnn_all(scale->rounding));
        const gnn_vector value = gnn_plus(gnn_shifted_right(high, gnn_all((int32_t)scale->shift)), gnn_all(op->requant.zero_point));
        gnn_store_vector(gnn_bounded(value, op->requant.low, op->requant.high), count, y_type, y);
    } else {
        int32_t sums[GNN_VECTOR];
        gnn_store_words(sums, total, GNN_VECTOR);
        gnn_store_codes(scale, sums, count, y_type, y);
    }
}

/* One row of y. */
static GNN_INLINE void gnn_sum_words(const gnn_words *words, const gnn_propagate_op *op, const gnn_row *row, const int8_t *x, uint32_t node,
                                     void *y, gnn_type y_type)
{
    const uint32_t channels = op->channels, bytes = y_type == GNN_S8 ? 1u : 2u;
    const uint16_t *const end = row->index + row->count;
    const int32_t zero_point = op->zero_point; /* a variable: gcc 12 warns of the sign where the field is cast in place */
    const int32_t base = (int32_t)(0u - ((row->count << op->self_shift) + (uint32_t)op->self_scale) * (uint32_t)zero_point);
    const int8_t *const own = x + (size_t)node * channels;
    gnn_scale scale;
    uint32_t c;
    (void)words;
    gnn_set_scale(&scale, &op->requant, 0, row->factor);
    for (c = 0; c < channels; c += 2u * GNN_VECTOR) {
        const uint32_t left = channels - c, first = left < GNN_VECTOR ? left : GNN_VECTOR;
        const int8_t *const columns = x + c;
        uint8_t *const to = (uint8_t *)y + c * bytes;
        const uint16_t *index;
        gnn_vector sum = gnn_all(0);
        if (left >= 2u * GNN_VECTOR) {
            for (index = row->index; index != end; ++index) {
                sum = gnn_plus_shorts(sum, gnn_load_shorts(columns + (size_t)*index * channels, 2u * GNN_VECTOR));
            }
        } else {
            for (index = row->index; index != end; ++index) {
                sum = gnn_plus_shorts(sum, gnn_load_shorts(columns + (size_t)*index * channels, left));
            }
        }
        gnn_store_sums(op, &scale, gnn_first_half(sum), base, own + c, first, y_type, to);
        if (left > GNN_VECTOR) {
            const uint32_t second = left - GNN_VECTOR < GNN_VECTOR ? left - GNN_VECTOR : GNN_VECTOR;
            gnn_store_sums(op, &scale, gnn_second_half(sum), base, own + c + GNN_VECTOR, second, y_type, to + GNN_VECTOR * bytes);
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
