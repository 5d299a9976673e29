#include "gnn_float.h"
#include "gnn_kernels.h"

void gnn_aggregate_start_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, uint32_t *counts, float *error)
{
    const size_t count = (size_t)rows * channels;
    const float start = reduce == GNN_MAX ? gnn_float_of(GNN_LOWEST_BITS) : reduce == GNN_MIN ? gnn_float_of(GNN_HIGHEST_BITS) : 0.0f;
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
