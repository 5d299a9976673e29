#include "gnn_float.h"
#include "gnn_kernels.h"

static inline float combine(gnn_binary kind, float a, float b)
{
    switch (kind) {
    case GNN_ADD: return a + b;
    case GNN_SUB: return a - b;
    case GNN_MUL: return a * b;
    case GNN_DIV: return a / b;
    case GNN_MAXIMUM: break;
    }
    return a > b ? a : b;
}

void gnn_binary_f32(gnn_binary kind, const float *a, uint32_t a_channels, uint32_t a_stride, const float *b, uint32_t b_channels,
                    uint32_t b_stride, uint32_t rows, uint32_t channels, uint32_t relu, float *y)
{
    const uint32_t a_step = a_channels == 1u ? 0u : 1u, b_step = b_channels == 1u ? 0u : 1u;
    for (uint32_t r = 0; r < rows; ++r, a += a_stride, b += b_stride, y += channels) {
        for (uint32_t c = 0; c < channels; ++c) {
            const float value = combine(kind, a[c * a_step], b[c * b_step]);
            y[c] = relu != 0u ? gnn_relu(value) : value;
        }
    }
}
