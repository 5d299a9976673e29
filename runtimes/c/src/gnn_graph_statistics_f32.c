#include "gnn_kernels.h"
#include "gnn_moments.h"

void gnn_graph_statistics_f32(const gnn_layer_norm_op *op, const float *x, const uint32_t *graph_pointer, uint32_t num_graphs,
                              float *statistics)
{
    for (uint32_t g = 0; g < num_graphs; ++g, statistics += 2) {
        const size_t begin = (size_t)graph_pointer[g] * op->channels, end = (size_t)graph_pointer[g + 1u] * op->channels;
        statistics[0] = 0.0f;
        statistics[1] = 0.0f;
        if (begin != end) {
            const gnn_moments m = gnn_moments_of(x + begin, end - begin);
            statistics[0] = m.high + m.low;
            statistics[1] = gnn_inverse_spread(m.variance, op->eps, op->eps_outside);
        }
    }
}
