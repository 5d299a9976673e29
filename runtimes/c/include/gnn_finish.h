/* What rows of sums become: bias, ReLU and row scale. A loop each, so that none decides anything per element. */
#ifndef GNN_FINISH_H
#define GNN_FINISH_H

#include "gnn_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = relu?(y + bias) * scale for one row; bias and scale may be NULL. */
static inline void gnn_finish_row_f32(float *y, uint32_t channels, const float *bias, int relu, const float *scale)
{
    uint32_t c;
    if (bias) {
        for (c = 0; c < channels; ++c) { y[c] += bias[c]; }
    }
    if (relu) {
        for (c = 0; c < channels; ++c) { y[c] = gnn_relu(y[c]); }
    }
    if (scale) {
        for (c = 0; c < channels; ++c) { y[c] *= *scale; }
    }
}

#ifdef __cplusplus
}
#endif
#endif
