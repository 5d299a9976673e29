/* From a node to its graph. */
#ifndef GNN_SEARCH_H
#define GNN_SEARCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The graph of a node: the last g with graph_pointer[g] <= node. Graphs without nodes are passed over. */
static inline uint32_t gnn_graph_of(const uint32_t *graph_pointer, uint32_t num_graphs, uint32_t node)
{
    uint32_t low = 0, high = num_graphs; /* the answer is in [low, high) */
    while (high - low > 1u) {
        const uint32_t middle = low + (high - low) / 2u;
        if (graph_pointer[middle] <= node) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

#ifdef __cplusplus
}
#endif
#endif
