#include "gnn_kernels.h"
#include "gnn_reduce.h"

void gnn_aggregate_f32(gnn_reduce reduce, const float *x, const uint16_t *index, uint32_t rows, uint32_t channels, float *y,
                       uint32_t *counts, float *error)
{
    for (uint32_t r = 0; r < rows; ++r) {
        const size_t place = (size_t)index[r] * channels;
        gnn_reduce_row(reduce, x + (size_t)r * channels, channels, y + place, error != NULL ? error + place : NULL);
        if (counts != NULL) {
            ++counts[index[r]];
        }
    }
}
