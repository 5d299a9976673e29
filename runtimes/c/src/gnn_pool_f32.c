#include "gnn_kernels.h"
#include "gnn_reduce.h"
#include "gnn_search.h"

void gnn_pool_f32(gnn_reduce reduce, const float *x, const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t first,
                  uint32_t rows, uint32_t channels, float *y, float *error)
{
    uint32_t graph = gnn_graph_of(graph_pointer, num_graphs, first);
    for (uint32_t r = 0; r < rows; ++r) {
        while (first + r >= graph_pointer[graph + 1u]) {
            ++graph;
        }
        const size_t place = (size_t)graph * channels;
        gnn_reduce_row(reduce, x + (size_t)r * channels, channels, y + place, error != NULL ? error + place : NULL);
    }
}
