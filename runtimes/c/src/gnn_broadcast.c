#include "gnn_copy.h"
#include "gnn_kernels.h"
#include "gnn_search.h"

void gnn_broadcast(const void *x, const uint32_t *graph_pointer, uint32_t num_graphs, size_t row_bytes, uint32_t first,
                   uint32_t rows, void *y)
{
    const unsigned char *const from = (const unsigned char *)x;
    unsigned char *const to = (unsigned char *)y;
    uint32_t graph = gnn_graph_of(graph_pointer, num_graphs, first);
    for (uint32_t r = 0; r < rows; ++r) {
        while (first + r >= graph_pointer[graph + 1u]) {
            ++graph;
        }
        GNN_COPY(to + r * row_bytes, from + graph * row_bytes, row_bytes);
    }
}
