/* A row joins the accumulator of a reduction. */
#ifndef GNN_REDUCE_H
#define GNN_REDUCE_H

#include "gnn_float.h"
#include "gnn_kernels.h"
#include "gnn_sum.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a reduction starts from. */
static inline float gnn_reduce_start(gnn_reduce reduce)
{
    if (reduce == GNN_MAX) {
        return gnn_float_of(GNN_LOWEST_BITS);
    }
    if (reduce == GNN_MIN) {
        return gnn_float_of(GNN_HIGHEST_BITS);
    }
    return reduce == GNN_PRODUCT ? 1.0f : 0.0f;
}

/* Sums (and means, before their division), compensated where `error` is not NULL; maxima; minima; products. */
static inline void gnn_reduce_row(gnn_reduce reduce, const float *x, uint32_t channels, float *y, float *error)
{
    uint32_t c;
    if (reduce == GNN_MAX) {
        for (c = 0; c < channels; ++c) { y[c] = x[c] > y[c] ? x[c] : y[c]; }
    } else if (reduce == GNN_MIN) {
        for (c = 0; c < channels; ++c) { y[c] = x[c] < y[c] ? x[c] : y[c]; }
    } else if (reduce == GNN_PRODUCT) {
        for (c = 0; c < channels; ++c) { y[c] *= x[c]; }
    } else if (error != NULL) {
        for (c = 0; c < channels; ++c) { gnn_add_compensated(y + c, error + c, x[c]); }
    } else {
        for (c = 0; c < channels; ++c) { y[c] += x[c]; }
    }
}

/* The result of a row to which `count` rows were added (only GNN_MEAN asks for it): nothing was added to an infinite maximum or minimum. */
static inline void gnn_reduce_finish(gnn_reduce reduce, uint32_t count, uint32_t channels, float *y)
{
    uint32_t c;
    if (reduce == GNN_MEAN) {
        const float divisor = (float)(count == 0u ? 1u : count);
        for (c = 0; c < channels; ++c) { y[c] /= divisor; }
    } else if (reduce == GNN_MAX || reduce == GNN_MIN) {
        for (c = 0; c < channels; ++c) { y[c] = gnn_is_finite(y[c]) ? y[c] : 0.0f; }
    }
}

#ifdef __cplusplus
}
#endif
#endif
