/* The integer Propagate of a block of rows, for any types of x and y. */
#ifndef GNN_PROPAGATE_H
#define GNN_PROPAGATE_H

#include "gnn_row.h"
#include "gnn_sum_rows.h"

#if defined(GNN_MVE)
#include "gnn_propagate_mve.h"
#elif defined(GNN_DSP)
#include "gnn_propagate_dsp.h"
#elif defined(GNN_X86)
#include "gnn_propagate_x86.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* With the DSP extension, int8 rows have a loop of their own; what it leaves is rare, and need not be fast. */
#if defined(GNN_DSP)
#define GNN_SUMS_ROWS(op, x_type) (!GNN_USES_RARE || ((x_type) == GNN_S16 && gnn_is_sum(op) && (op)->channels >= GNN_COLUMNS))
#define GNN_ALL_WORDS !GNN_USES_RARE /* int8 rows all have that loop */
#else
#define GNN_SUMS_ROWS(op, x_type) gnn_is_sum(op)
#define GNN_ALL_WORDS 0
#endif

static GNN_INLINE void gnn_propagate_block(const gnn_propagate_op *op, const gnn_topology *topology, const void *x, gnn_type x_type,
                                           uint32_t first, uint32_t rows, void *y, gnn_type y_type, uint32_t y_stride, int32_t *scratch)
{
    const uint32_t end = first + rows, x_bytes = x_type == GNN_S8 ? 1u : 2u, y_bytes = y_type == GNN_S8 ? 1u : 2u;
#if defined(GNN_DSP) || defined(GNN_MVE) || defined(GNN_X86)
    gnn_words words;
    const int has_words = x_type == GNN_S8 && (gnn_start_words(&words, op, y_type) || GNN_ALL_WORDS);
#endif
    for (; first != end; ++first) {
        const void *const self = (const uint8_t *)x + (size_t)first * op->channels * x_bytes;
        gnn_row row;
        gnn_start_row(&row, op, topology, first);
#if defined(GNN_DSP) || defined(GNN_MVE) || defined(GNN_X86)
        if (has_words && (GNN_ALL_WORDS || row.count <= GNN_LANE_COUNT)) {
            gnn_sum_words(&words, op, &row, (const int8_t *)x, first, y, y_type);
        } else
#endif
        {
            if (GNN_SUMS_ROWS(op, x_type)) {
                gnn_sum_rows(x, x_type, op->channels, row.index, row.count, scratch);
            } else {
                gnn_reduce_columns(op, &row, x, x_type, scratch);
            }
            gnn_finish_row(op, &row, self, x_type, scratch, y_type, y);
        }
        y = (uint8_t *)y + (size_t)y_stride * y_bytes;
    }
}

#ifdef __cplusplus
}
#endif
#endif
