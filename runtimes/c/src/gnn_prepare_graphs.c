#include "gnn_kernels.h"

gnn_status gnn_prepare_graphs(const gnn_graph *graph, uint32_t *graph_pointer)
{
    uint32_t next = 0; /* the first graph whose start is not known yet */
    if (graph->batch == NULL) {
        if (graph->num_graphs != 1u) {
            return GNN_ERROR_NULL;
        }
        graph_pointer[next++] = 0;
    } else {
        uint32_t previous = 0;
        for (uint32_t i = 0; i < graph->num_nodes; ++i) {
            const uint32_t g = graph->batch[i];
            if (g < previous || g >= graph->num_graphs) {
                return GNN_ERROR_BATCH;
            }
            previous = g;
            while (next <= g) {
                graph_pointer[next++] = i;
            }
        }
    }
    while (next <= graph->num_graphs) {
        graph_pointer[next++] = graph->num_nodes;
    }
    return GNN_OK;
}
