/* Mean and variance without cancellation, in single precision. */
#ifndef GNN_MOMENTS_H
#define GNN_MOMENTS_H

#include <stddef.h>

#include "gnn_math.h"
#include "gnn_sum.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of a value x: x = high + low + (deviation from the mean). low is what rounding took from the mean. */
typedef struct gnn_moments {
    float high, low, variance;
} gnn_moments;

/* Moments of `count` values, count >= 1. */
static inline gnn_moments gnn_moments_of(const float *x, size_t count)
{
    gnn_moments m;
    float sum = 0.0f, error = 0.0f, squares = 0.0f, squares_error = 0.0f;
    size_t i;
    for (i = 0; i < count; ++i) { gnn_add_compensated(&sum, &error, x[i]); }
    m.high = sum / (float)count;
    sum = 0.0f;
    error = 0.0f;
    for (i = 0; i < count; ++i) {
        const float deviation = x[i] - m.high;
        gnn_add_compensated(&sum, &error, deviation);
        gnn_add_compensated(&squares, &squares_error, deviation * deviation);
    }
    m.low = sum / (float)count;
    m.variance = squares / (float)count - m.low * m.low;
    m.variance = m.variance > 0.0f ? m.variance : 0.0f;
    return m;
}

/* What deviations are multiplied by: 1 / sqrt(variance + eps), or 1 / (sqrt(variance) + eps). */
static inline float gnn_inverse_spread(float variance, float eps, int eps_outside)
{
    return 1.0f / (eps_outside ? gnn_sqrt(variance) + eps : gnn_sqrt(variance + eps));
}

#ifdef __cplusplus
}
#endif
#endif
