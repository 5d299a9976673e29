#include "gnn_kernels.h"

gnn_status gnn_prepare_start(const gnn_model *model, const gnn_graph *graph, void *arena, size_t arena_bytes)
{
    if (graph == NULL || arena == NULL) {
        return GNN_ERROR_NULL;
    }
    if (arena_bytes < model->required_bytes() || (uintptr_t)arena % GNN_ALIGNMENT != 0u) {
        return GNN_ERROR_ARENA;
    }
    gnn_state *const state = (gnn_state *)arena;
    state->model = 0; /* a refused graph leaves nothing that run() would take */
    if (graph->num_nodes == 0u || graph->num_nodes > model->max_nodes) {
        return GNN_ERROR_NODES;
    }
    if (graph->num_graphs == 0u || graph->num_graphs > model->max_graphs) {
        return GNN_ERROR_GRAPHS;
    }
    if (!model->has_fixed_graph) {
        if (graph->num_edges != 0u && (graph->source == NULL || graph->target == NULL)) {
            return GNN_ERROR_NULL;
        }
        if (graph->num_edges != 0u && model->reads_edge_weight && graph->edge_weight == NULL) {
            return GNN_ERROR_NULL;
        }
        if (graph->num_edges != 0u && model->reads_edge_type && graph->edge_type == NULL) {
            return GNN_ERROR_NULL;
        }
    }
    state->num_nodes = graph->num_nodes;
    state->num_edges = graph->num_edges;
    state->num_graphs = graph->num_graphs;
    return GNN_OK;
}
