#include "gnn_float.h"
#include "gnn_kernels.h"

void gnn_head_dot_f32(const float *x, const float *weight, uint32_t rows, uint32_t heads, uint32_t width, float *y)
{
    for (uint32_t r = 0; r < rows; ++r) {
        const float *w = weight;
        for (uint32_t h = 0; h < heads; ++h, x += width, w += width) {
            float sum = 0.0f;
            for (uint32_t c = 0; c < width; ++c) {
                sum += x[c] * w[c];
            }
            *y++ = sum;
        }
    }
}
