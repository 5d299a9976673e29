/* The integer Propagate of a block of rows, for any types of x and y. */
#ifndef GNN_PROPAGATE_H
#define GNN_PROPAGATE_H

#include "gnn_requantize.h"
#include "gnn_sum_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Smallest or largest code of a channel over the rows index[0..count); 0 where there are none. */
static GNN_INLINE int32_t gnn_extreme(gnn_reduce reduce, const void *x, gnn_type type, uint32_t stride, uint32_t c, const uint16_t *index,
                                      uint32_t count)
{
    int32_t extreme = 0;
    uint32_t e;
    for (e = 0; e < count; ++e) {
        const int32_t code = gnn_load_code(x, type, (size_t)index[e] * stride + c);
        if (e == 0u || (reduce == GNN_MAX ? code > extreme : code < extreme)) {
            extreme = code;
        }
    }
    return extreme;
}

/* zero_point + ((total m + bias + 2^(s-1)) >> s), clamped: the bias joins before the only rounding. */
static GNN_INLINE int32_t gnn_biased_code(const gnn_requant *requant, int32_t total, int32_t m, int64_t bias)
{
    const uint32_t s = requant->shift[0];
    const int64_t value = ((int64_t)total * m + bias + ((int64_t)1 << (s - 1u))) >> s;
    const int32_t narrow = value > 0x100000 ? 0x100000 : value < -0x100000 ? -0x100000 : (int32_t)value;
    return gnn_clamp(narrow + requant->zero_point, requant->low, requant->high);
}

static GNN_INLINE void gnn_propagate_block(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type,
                                           uint32_t first, uint32_t rows, void *y, gnn_type y_type, uint32_t y_stride)
{
    const uint32_t channels = op->channels;
    const int is_sum = op->reduce == GNN_SUM || op->reduce == GNN_MEAN;
    const uint32_t width = is_sum && channels >= GNN_SUM_WIDTH ? GNN_SUM_WIDTH : 1u;
    uint32_t r, c, k;
    for (r = 0; r < rows; ++r) {
        const uint32_t node = first + r, begin = topology->row_pointer[node], count = topology->row_pointer[node + 1u] - begin;
        const uint16_t *index = topology->source + begin;
        const int32_t m = op->factor == GNN_FACTOR_NONE ? op->requant.multiplier[0]
                          : gnn_srdhm(op->requant.multiplier[0], op->factor == GNN_FACTOR_MEAN ? gnn_recip_q31(count) : topology->row_factor[node]);
        const gnn_scale scale = gnn_scale_of(&op->requant, 0, m);
        /* What the zero point adds to T: counted once for every edge of a sum, once for a maximum. */
        const uint32_t zeros = (((is_sum || count == 0u ? count : 1u) << op->self_shift) + (uint32_t)op->self_scale) * (uint32_t)op->zero_point;
        for (c = 0; c < channels; c += width) {
            const uint32_t at = c + width <= channels ? c : channels - width; /* the last columns may be computed twice */
            int32_t total[GNN_SUM_WIDTH];
            if (width == GNN_SUM_WIDTH) {
                gnn_sum_rows(x, x_type, channels, at, index, count, total);
            } else if (is_sum) {
                total[0] = gnn_sum_column(x, x_type, channels, at, index, count);
            } else {
                total[0] = gnn_extreme(op->reduce, x, x_type, channels, at, index, count);
            }
            for (k = 0; k < width; ++k) {
                const uint32_t channel = at + k;
                int32_t code;
                int32_t t = (int32_t)(((uint32_t)total[k] << op->self_shift) - zeros);
                if (op->self_scale != 0) {
                    t = (int32_t)((uint32_t)t + (uint32_t)op->self_scale * (uint32_t)gnn_load_code(x, x_type, (size_t)node * channels + channel));
                }
                if (op->bias == NULL) {
                    code = gnn_requantize_code(&scale, t);
                } else {
                    code = gnn_biased_code(&op->requant, t, m, op->bias[channel]);
                }
                gnn_store_code(y, y_type, (size_t)r * y_stride + channel, code);
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
