#include "gnn_kernels.h"
#include "gnn_reduce.h"

void gnn_aggregate_start_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, uint32_t *counts, float *error)
{
    const size_t count = (size_t)rows * channels;
    const float start = gnn_reduce_start(reduce);
    for (size_t i = 0; i < count; ++i) {
        y[i] = start;
    }
    if (error != NULL) {
        for (size_t i = 0; i < count; ++i) {
            error[i] = 0.0f;
        }
    }
    if (counts != NULL) {
        for (uint32_t r = 0; r < rows; ++r) {
            counts[r] = 0;
        }
    }
}
