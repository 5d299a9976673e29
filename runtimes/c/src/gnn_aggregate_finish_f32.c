#include "gnn_kernels.h"
#include "gnn_reduce.h"

void gnn_aggregate_finish_f32(gnn_reduce reduce, uint32_t rows, uint32_t channels, float *y, const uint32_t *counts)
{
    for (uint32_t r = 0; r < rows; ++r) {
        gnn_reduce_finish(reduce, counts != NULL ? counts[r] : 0u, channels, y + (size_t)r * channels);
    }
}
