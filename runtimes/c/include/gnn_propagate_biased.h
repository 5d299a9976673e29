/* The integer Propagate of a block of rows with a late bias, for any types of x and y. */
#ifndef GNN_PROPAGATE_BIASED_H
#define GNN_PROPAGATE_BIASED_H

#include "gnn_late_bias.h"
#include "gnn_row.h"
#include "gnn_sum_rows.h"

#if defined(GNN_DSP)
#include "gnn_propagate_biased_dsp.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One row of any kind. */
GNN_SHARED void gnn_biased_row(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type, uint32_t node, void *y,
                               gnn_type y_type, int32_t *t)
{
    const uint32_t channels = op->channels, x_bytes = x_type == GNN_S8 ? 1u : 2u;
    int32_t m = op->requant.multiplier[0];
    gnn_row row;
    uint32_t c;
    gnn_start_row(&row, op, topology, node);
    m = row.factor < 0 ? m : gnn_srdhm(m, row.factor);
    if (gnn_is_sum(op)) {
        gnn_sum_rows(x, x_type, channels, row.index, row.count, t);
    } else {
        gnn_reduce_columns(op, &row, x, x_type, t);
    }
    gnn_add_self(op, &row, (const uint8_t *)x + (size_t)node * channels * x_bytes, x_type, t);
    for (c = 0; c < channels; ++c) {
        gnn_store_code(y, y_type, c, gnn_late_code(&op->requant, t[c], m, op->bias[c]));
    }
}

static GNN_INLINE void gnn_propagate_biased_block(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type,
                                                  uint32_t first, uint32_t rows, uint8_t *y, gnn_type y_type, uint32_t y_stride,
                                                  int32_t *scratch)
{
    const uint32_t end = first + rows, y_bytes = y_stride * (y_type == GNN_S8 ? 1u : 2u);
#if defined(GNN_DSP)
    const int is_late = x_type == GNN_S8 && gnn_is_late(op, y_type);
#endif
    while (first != end) {
#if defined(GNN_DSP)
        if (is_late) {
            const uint32_t done = gnn_late_rows(op, topology, (const int8_t *)x, first, end - first, y, y_type, y_stride);
            first += done;
            y += done * y_bytes;
            if (first == end) {
                break;
            }
        }
#endif
        gnn_biased_row(op, topology, x, x_type, first, y, y_type, scratch);
        ++first;
        y += y_bytes;
    }
}

#ifdef __cplusplus
}
#endif
#endif
