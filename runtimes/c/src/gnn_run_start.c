#include "gnn_kernels.h"
#include "gnn_state.h"

gnn_status gnn_run_start(const gnn_model *model, uint32_t id, const gnn_features *features, const void *arena, size_t arena_bytes,
                         const gnn_outputs *outputs)
{
    if (features == NULL || arena == NULL || outputs == NULL) {
        return GNN_ERROR_NULL;
    }
    if (arena_bytes < model->required_bytes() || (uintptr_t)arena % GNN_ALIGNMENT != 0u) {
        return GNN_ERROR_ARENA;
    }
    const gnn_state *const state = (const gnn_state *)arena;
    if (state->model != gnn_seal(state, id)) {
        return GNN_ERROR_NOT_PREPARED;
    }
    if (model->reads_sparse_features ? features->x_pointer == NULL || features->x_index == NULL : features->x == NULL) {
        return GNN_ERROR_NULL;
    }
    if (model->edge_features != 0u && state->num_edges != 0u && features->edge_attr == NULL) {
        return GNN_ERROR_NULL;
    }
    if (outputs->values == NULL && outputs->sink == NULL) {
        return GNN_ERROR_NULL;
    }
    if (outputs->values != NULL) {
        for (uint32_t i = 0; i < model->num_outputs; ++i) {
            if (outputs->values[i] == NULL) {
                return GNN_ERROR_NULL;
            }
        }
    }
    return GNN_OK;
}
