#include "gnn_kernels.h"

void gnn_edge_attr_f32(const float *edge_attr, uint32_t channels, const gnn_topology *topology, const uint16_t *target,
                       uint32_t first, uint32_t rows, float *y)
{
    for (uint32_t r = 0; r < rows; ++r, y += channels) {
        const uint32_t origin = topology->origin[first + r];
        if (origin != GNN_NO_EDGE) {
            const float *const x = edge_attr + (size_t)origin * channels;
            for (uint32_t c = 0; c < channels; ++c) {
                y[c] = x[c];
            }
            continue;
        }
        const uint32_t start = topology->row_pointer[target[r]]; /* the loop is the last of its row */
        const uint32_t count = first + r - start;
        for (uint32_t c = 0; c < channels; ++c) {
            float sum = 0.0f;
            for (uint32_t e = start; e < first + r; ++e) {
                sum += edge_attr[(size_t)topology->origin[e] * channels + c];
            }
            y[c] = count == 0u ? 0.0f : sum / (float)count;
        }
    }
}
