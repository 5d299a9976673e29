#include "gnn_float.h"
#include "gnn_kernels.h"
#include "gnn_search.h"

void gnn_graph_norm_f32(const gnn_layer_norm_op *op, const float *statistics, const uint32_t *graph_pointer, uint32_t num_graphs,
                        const float *x, uint32_t first, uint32_t rows, float *y)
{
    const uint32_t channels = op->channels;
    uint32_t graph = gnn_graph_of(graph_pointer, num_graphs, first);
    for (uint32_t r = 0; r < rows; ++r, x += channels, y += channels) {
        while (first + r >= graph_pointer[graph + 1u]) {
            ++graph;
        }
        const float mean = statistics[2u * graph], inverse = statistics[2u * graph + 1u];
        for (uint32_t c = 0; c < channels; ++c) {
            y[c] = (x[c] - mean) * inverse * op->weight[c] + op->bias[c];
        }
    }
}
