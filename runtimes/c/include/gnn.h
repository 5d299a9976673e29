/* What an application sees of an exported graph neural network. C99, no allocation, no I/O, no global state.
 *
 * A model is used in three steps, with memory that the caller owns:
 *   1. an arena of gnn_<name>_required_bytes() bytes, aligned to GNN_ALIGNMENT;
 *   2. gnn_<name>_prepare(): checks the edges and sorts them into the arena, once per graph;
 *   3. gnn_<name>_run(): computes the outputs for one set of features, any number of times.
 * Each arena is independent, so several threads may run one model on an arena each.
 */
#ifndef GNN_H
#define GNN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Counts up whenever a struct or number below changes. Programs that serve any model are compiled with the gnn.h of the model, so
 * those who build them look at this first. */
#define GNN_INTERFACE_VERSION 2
#define GNN_ALIGNMENT 8u

/* Why a graph was refused. Nothing of the outputs is valid unless the status is GNN_OK. */
typedef enum gnn_status {
    GNN_OK = 0,
    GNN_ERROR_NULL = 1,         /* a pointer that the model needs is missing */
    GNN_ERROR_ARENA = 2,        /* the arena is smaller than required_bytes() or not aligned to GNN_ALIGNMENT */
    GNN_ERROR_NODES = 3,        /* no node, or more than MAX_NODES */
    GNN_ERROR_EDGES = 4,        /* more edges than MAX_EDGES, added self-loops included */
    GNN_ERROR_GRAPHS = 5,       /* no graph, or more than MAX_GRAPHS */
    GNN_ERROR_DEGREE = 6,       /* a node has more in-edges than MAX_DEGREE, beyond which integer sums could overflow */
    GNN_ERROR_INDEX = 7,        /* an edge names a node that does not exist */
    GNN_ERROR_BATCH = 8,        /* batch is not sorted, or names a graph that does not exist */
    GNN_ERROR_VALUE = 9,        /* a feature, edge weight or edge attribute is not finite */
    GNN_ERROR_WEIGHT = 10,      /* the edge weights into a node sum to less than 0, which cannot be normalized */
    GNN_ERROR_NOT_PREPARED = 11 /* the arena holds no prepared graph of this model */
} gnn_status;

/* A graph as it comes: edges in any order. Arrays are only read during prepare(). */
typedef struct gnn_graph {
    uint32_t num_nodes;       /* N */
    uint32_t num_edges;       /* E, as given: without the self-loops that the model adds */
    uint32_t num_graphs;      /* G; 1 unless several graphs lie side by side */
    const uint16_t *source;   /* [E] node that a message leaves (row 0 of edge_index) */
    const uint16_t *target;   /* [E] node that it reaches (row 1 of edge_index) */
    const uint16_t *batch;    /* [N] graph of each node, not decreasing; NULL: all nodes are one graph */
    const float *edge_weight; /* [E], or NULL where the model reads none */
    const uint16_t *edge_type; /* [E] relation of each edge, or NULL where the model reads none */
} gnn_graph;

/* Features of one run. */
typedef struct gnn_features {
    const float *x;            /* [N, F] row by row; NULL with sparse features */
    const uint32_t *x_pointer; /* [N + 1] sparse binary features: the ones of node i are x_index[x_pointer[i] .. x_pointer[i + 1]) */
    const uint16_t *x_index;   /* columns that hold a one; used by models that were exported with sparse features */
    const float *edge_attr;    /* [E, D] in the order given to prepare(), or NULL where the model reads none */
} gnn_features;

/* Where results go: whole arrays, or rows as they are computed (for outputs larger than memory). */
typedef struct gnn_outputs {
    float *const *values; /* one [rows, channels] array per output; NULL: use the sink */
    void (*sink)(void *context, uint32_t output, uint32_t first_row, uint32_t rows, const float *values);
    void *context; /* handed to the sink */
} gnn_outputs;

/* Where the rows of an output belong. */
typedef enum gnn_domain { GNN_NODE = 0, GNN_EDGE = 1, GNN_GRAPH = 2 } gnn_domain;

typedef struct gnn_output_info {
    gnn_domain domain;
    uint16_t channels;
} gnn_output_info;

/* A model as data, for programs that serve any model: every generated model.c defines one, gnn_<name>_model. */
typedef struct gnn_model {
    const char *name;
    uint32_t max_nodes, max_edges, max_graphs, max_degree; /* max_edges and max_degree count added self-loops */
    uint16_t features, edge_features;                      /* columns of x and edge_attr; 0: none is read */
    uint8_t reads_edge_weight, reads_sparse_features;
    uint8_t has_fixed_graph; /* the edges are part of the model: prepare() takes NULL for the graph */
    uint8_t num_outputs;
    uint8_t reads_edge_type;
    const gnn_output_info *outputs; /* [num_outputs] */
    size_t edges_offset; /* where memory is short: source [max_edges], then target [max_edges] may lie here in the arena during prepare();
                            run() overwrites them */
    size_t (*required_bytes)(void);
    gnn_status (*prepare)(const gnn_graph *graph, void *arena, size_t arena_bytes);
    gnn_status (*run)(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs);
} gnn_model;

#ifdef __cplusplus
}
#endif
#endif
