#include "gnn_kernels.h"
#include "gnn_math.h"
#include "gnn_sum.h"

void gnn_edge_softmax_f32(const uint32_t *row_pointer, uint32_t num_nodes, uint32_t heads, const float *x, float *y)
{
    for (uint32_t i = 0; i < num_nodes; ++i) {
        const size_t begin = (size_t)row_pointer[i] * heads, end = (size_t)row_pointer[i + 1u] * heads;
        for (uint32_t h = 0; h < heads && begin != end; ++h) {
            float peak = x[begin + h], total = 0.0f, error = 0.0f;
            for (size_t e = begin + h; e < end; e += heads) {
                peak = x[e] > peak ? x[e] : peak;
            }
            for (size_t e = begin + h; e < end; e += heads) {
                y[e] = gnn_exp(x[e] - peak);
                gnn_add_compensated(&total, &error, y[e]);
            }
            total += 1e-16f;
            for (size_t e = begin + h; e < end; e += heads) {
                y[e] /= total;
            }
        }
    }
}
