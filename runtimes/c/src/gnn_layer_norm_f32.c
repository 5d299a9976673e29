#include "gnn_kernels.h"
#include "gnn_moments.h"

void gnn_layer_norm_f32(const gnn_layer_norm_op *op, const float *x, uint32_t rows, float *y)
{
    const uint32_t channels = op->channels;
    for (uint32_t r = 0; r < rows; ++r, x += channels, y += channels) {
        const gnn_moments m = gnn_moments_of(x, channels);
        const float inverse = gnn_inverse_spread(m.variance, op->eps, op->eps_outside);
        for (uint32_t c = 0; c < channels; ++c) {
            y[c] = (x[c] - m.high - m.low) * inverse * op->weight[c] + op->bias[c];
        }
    }
}
