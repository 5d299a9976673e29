/* A model in the form that the C exporter gives, small enough to be checked by hand.
 *
 *   y0[i] = sum over edges (j to i) of edge_weight * x[j][0] + edge_attr[0]      one row per node, 1 channel
 *   y1[g] = sum over the nodes of graph g of x[i]                                one row per graph, 3 channels
 */
#ifndef GNN_TINY_H
#define GNN_TINY_H

#include "gnn.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_TINY_MAX_NODES 20u
#define GNN_TINY_MAX_EDGES 40u
#define GNN_TINY_MAX_GRAPHS 3u
#define GNN_TINY_MAX_DEGREE 40u
#define GNN_TINY_FEATURES 3u
#define GNN_TINY_EDGE_FEATURES 2u
#define GNN_TINY_ARENA_BYTES 536u
#define GNN_TINY_OUTPUTS 2u

size_t gnn_tiny_required_bytes(void);
gnn_status gnn_tiny_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes);
gnn_status gnn_tiny_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs);
extern const gnn_model gnn_tiny_model;

#ifdef __cplusplus
}
#endif
#endif
