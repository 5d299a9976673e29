/* The mark on a prepared arena. */
#ifndef GNN_STATE_H
#define GNN_STATE_H

#include "gnn_kernels.h"

/* What `model` of the state holds once a graph is prepared: the id of the model mixed with the counts. Each step maps different
 * operands to different results, so an arena in which one of these fields was overwritten is not taken for a prepared one. */
static inline uint32_t gnn_seal(const gnn_state *state, uint32_t id)
{
    uint32_t mixed = (id ^ state->num_nodes) * 0x9E3779B1u;
    mixed = ((mixed ^ mixed >> 15) + state->num_edges) * 0x85EBCA77u;
    mixed = ((mixed ^ mixed >> 13) + state->num_graphs) * 0xC2B2AE3Du;
    mixed ^= mixed >> 16;
    return mixed != 0u ? mixed : 1u; /* 0 is the mark of no graph */
}

#endif
