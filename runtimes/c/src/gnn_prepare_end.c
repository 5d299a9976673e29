#include "gnn_kernels.h"
#include "gnn_state.h"

void gnn_prepare_end(uint32_t id, void *arena)
{
    gnn_state *const state = (gnn_state *)arena;
    state->model = gnn_seal(state, id);
}
