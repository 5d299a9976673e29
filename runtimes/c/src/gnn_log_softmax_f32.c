#include "gnn_kernels.h"
#include "gnn_math.h"

void gnn_log_softmax_f32(const float *x, uint32_t rows, uint32_t channels, uint32_t log, float *y)
{
    for (uint32_t r = 0; r < rows; ++r, x += channels, y += channels) {
        float peak = x[0], total = 0.0f;
        for (uint32_t c = 1; c < channels; ++c) {
            peak = x[c] > peak ? x[c] : peak;
        }
        for (uint32_t c = 0; c < channels; ++c) {
            total += gnn_exp(x[c] - peak);
        }
        const float shift = log != 0u ? gnn_log(total) : 0.0f;
        for (uint32_t c = 0; c < channels; ++c) {
            const float value = x[c] - peak;
            y[c] = log != 0u ? value - shift : gnn_exp(value) / total;
        }
    }
}
