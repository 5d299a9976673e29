/* One row of an integer Propagate, step by step: where its in-edges are, what they sum to, its codes. */
#ifndef GNN_ROW_H
#define GNN_ROW_H

#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gnn_row {
    const uint16_t *index; /* sources */
    uint32_t count;
    int32_t factor; /* Q31, or GNN_NO_FACTOR */
} gnn_row;

static GNN_INLINE int gnn_is_sum(const gnn_propagate_op *op)
{
    return !GNN_USES_EXTREMES || op->reduce == GNN_SUM || op->reduce == GNN_MEAN;
}

/* Finds the row of a node. */
static GNN_INLINE void gnn_start_row(gnn_row *row, const gnn_propagate_op *op, const gnn_topology *topology, uint32_t node)
{
    const uint32_t begin = topology->row_pointer[node];
    row->count = topology->row_pointer[node + 1u] - begin;
    row->index = topology->source + begin;
    row->factor = GNN_NO_FACTOR;
    if (op->factor == GNN_FACTOR_NORMALIZATION) {
        row->factor = topology->row_factor[node];
    } else if (GNN_USES_MEAN_ROWS && op->factor == GNN_FACTOR_MEAN) {
        row->factor = gnn_mean_factor(row->count);
    }
}

/* t[c] = the sum, the largest or the smallest code of column c over the row's sources; 0 where there are none. */
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

/* T = (S << self_shift) + self_scale (x_i - zero) of a row, from its reduced codes t = S, in place. */
static GNN_INLINE void gnn_add_self(const gnn_propagate_op *op, const gnn_row *row, const void *self, gnn_type x_type, int32_t *t)
{
    const uint32_t counted = gnn_is_sum(op) || row->count == 0u ? row->count : 1u; /* codes in S, each with its zero point */
    const int32_t zero_point = op->zero_point; /* a variable: gcc 12 warns of the sign where the field is cast in place */
    const uint32_t self_shift = GNN_USES_SELF ? op->self_shift : 0u, self_scale = GNN_USES_SELF ? (uint32_t)op->self_scale : 0u;
    const uint32_t zeros = ((counted << self_shift) + self_scale) * (uint32_t)zero_point;
    uint32_t c;
#if defined(GNN_MVE)
    for (c = 0; c < op->channels; c += 4u) {
        const mve_pred16_t used = vctp32q(op->channels - c);
        const int32x4_t own = x_type == GNN_S8 ? vldrbq_z_s32((const int8_t *)self + c, used) : vldrhq_z_s32((const int16_t *)self + c, used);
        const int32x4_t total = vsubq_n_s32(vshlq_r_s32(vldrwq_z_s32(t + c, used), (int32_t)self_shift), (int32_t)zeros);
        vstrwq_p_s32(t + c, vmlaq_n_s32(total, own, (int32_t)self_scale), used);
    }
#else
    for (c = 0; c < op->channels; ++c) {
        const uint32_t own = GNN_USES_SELF ? self_scale * (uint32_t)gnn_load_code(self, x_type, c) : 0u;
        t[c] = (int32_t)(((uint32_t)t[c] << self_shift) + own - zeros);
    }
#endif
}

/* The codes of a row from its reduced codes t, which are overwritten. */
GNN_SHARED void gnn_finish_row(const gnn_propagate_op *op, const gnn_row *row, const void *self, gnn_type x_type, int32_t *t, gnn_type y_type,
                               void *y)
{
    gnn_scale scale;
    gnn_add_self(op, row, self, x_type, t);
    gnn_set_scale(&scale, &op->requant, 0, row->factor);
    gnn_store_codes(&scale, t, op->channels, y_type, y);
}

#ifdef __cplusplus
}
#endif
#endif
