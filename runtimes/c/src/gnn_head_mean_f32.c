#include "gnn_float.h"
#include "gnn_kernels.h"

void gnn_head_mean_f32(const float *x, uint32_t rows, uint32_t heads, uint32_t width, float *y)
{
    for (uint32_t r = 0; r < rows; ++r, x += (size_t)heads * width, y += width) {
        for (uint32_t c = 0; c < width; ++c) {
            float sum = x[c];
            for (uint32_t h = 1; h < heads; ++h) {
                sum += x[(size_t)h * width + c];
            }
            y[c] = sum / (float)heads;
        }
    }
}
