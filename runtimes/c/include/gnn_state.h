/* The mark on a prepared arena. */
#ifndef GNN_STATE_H
#define GNN_STATE_H

#include "gnn_kernels.h"

/* What `model` of the state holds once a graph is prepared: the id of the model mixed with the counts. Each step maps different
 * operands to different results, so an arena in which one of these fields was overwritten is not taken for a prepared one. */
static inline uint32_t gnn_seal(const gnn_state *state, uint32_t id)
{
    const uint32_t *const words = (const uint32_t *)(const void *)state; /* model, and then the counts */
    uint32_t mixed = id, i;
    for (i = 1; i < sizeof(gnn_state) / sizeof(uint32_t); ++i) {
        mixed = (mixed ^ words[i]) * 0x9E3779B1u;
        mixed ^= mixed >> 15;
    }
    return mixed != 0u ? mixed : 1u; /* 0 is the mark of no graph */
}

#endif
