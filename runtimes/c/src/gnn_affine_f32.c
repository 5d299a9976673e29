#include "gnn_float.h"
#include "gnn_kernels.h"

void gnn_affine_f32(const float *x, const float *weight, const float *bias, uint32_t rows, uint32_t channels, float *y)
{
    for (uint32_t r = 0; r < rows; ++r, x += channels, y += channels) {
        for (uint32_t c = 0; c < channels; ++c) {
            y[c] = x[c] * weight[c] + bias[c];
        }
    }
}
