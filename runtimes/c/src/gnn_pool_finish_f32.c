#include "gnn_kernels.h"
#include "gnn_reduce.h"

void gnn_pool_finish_f32(gnn_reduce reduce, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t channels, float *y)
{
    for (uint32_t g = 0; g < num_graphs; ++g) {
        gnn_reduce_finish(reduce, graph_pointer[g + 1u] - graph_pointer[g], channels, y + (size_t)g * channels);
    }
}
