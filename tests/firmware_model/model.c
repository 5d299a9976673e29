/* See model.h. For tests of what goes wrong, x[0][0] = 666 reads an address where nothing is, and 667 never ends. */
#include "model.h"

#include <string.h>


typedef struct prepared {
    uint32_t num_nodes, num_edges, num_graphs;
    uint16_t source[GNN_TINY_MAX_EDGES], target[GNN_TINY_MAX_EDGES], batch[GNN_TINY_MAX_NODES];
    float edge_weight[GNN_TINY_MAX_EDGES];
} prepared;

#define EDGES_OFFSET 376u /* during prepare() the edges may lie here in the arena, behind `prepared` */

typedef char assert_arena[sizeof(prepared) <= EDGES_OFFSET && EDGES_OFFSET + 4u * GNN_TINY_MAX_EDGES <= GNN_TINY_ARENA_BYTES ? 1 : -1];

static const float scale[4] = {1.0f, 1.0f, 1.0f, 1.0f};

size_t gnn_tiny_required_bytes(void)
{
    return GNN_TINY_ARENA_BYTES;
}

gnn_status gnn_tiny_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes)
{
    prepared *out = arena;
    if (graph == NULL || arena == NULL || graph->edge_weight == NULL)
        return GNN_ERROR_NULL;
    if (arena_bytes < GNN_TINY_ARENA_BYTES)
        return GNN_ERROR_ARENA;
    if (graph->num_nodes == 0 || graph->num_nodes > GNN_TINY_MAX_NODES)
        return GNN_ERROR_NODES;
    if (graph->num_edges > GNN_TINY_MAX_EDGES)
        return GNN_ERROR_EDGES;
    if (graph->num_graphs == 0 || graph->num_graphs > GNN_TINY_MAX_GRAPHS)
        return GNN_ERROR_GRAPHS;
    for (uint32_t e = 0; e < graph->num_edges; e++)
        if (graph->source[e] >= graph->num_nodes || graph->target[e] >= graph->num_nodes)
            return GNN_ERROR_INDEX;
    for (uint32_t i = 0; i < graph->num_nodes; i++)
        if (graph->batch != NULL && graph->batch[i] >= graph->num_graphs)
            return GNN_ERROR_BATCH;
    out->num_nodes = graph->num_nodes;
    out->num_edges = graph->num_edges;
    out->num_graphs = graph->num_graphs;
    memcpy(out->source, graph->source, graph->num_edges * sizeof *out->source);
    memcpy(out->target, graph->target, graph->num_edges * sizeof *out->target);
    for (uint32_t i = 0; i < graph->num_nodes; i++)
        out->batch[i] = graph->batch != NULL ? graph->batch[i] : 0;
    memcpy(out->edge_weight, graph->edge_weight, graph->num_edges * sizeof *out->edge_weight);
    return GNN_OK;
}

static void put(const gnn_outputs *outputs, uint32_t output, uint32_t row, uint32_t channels, const float *values)
{
    if (outputs->values != NULL)
        memcpy(outputs->values[output] + row * channels, values, channels * sizeof *values);
    else
        outputs->sink(outputs->context, output, row, 1, values);
}

gnn_status gnn_tiny_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs)
{
    const prepared *graph = arena;
    memset((char *)arena + EDGES_OFFSET, 0xFF, 4u * GNN_TINY_MAX_EDGES); /* as a model does that works there */
    if (features == NULL || features->x == NULL || features->edge_attr == NULL || arena_bytes < GNN_TINY_ARENA_BYTES)
        return GNN_ERROR_NULL;
    if (features->x[0] == 666.0f)
        return (gnn_status) * (volatile const uint8_t *)(uintptr_t)0xDEADBEE0u;
    while (*(volatile const float *)features->x == 667.0f) {
    }
    for (uint32_t i = 0; i < graph->num_nodes; i++) {
        float sum = 0.0f;
        for (uint32_t e = 0; e < graph->num_edges; e++)
            if (graph->target[e] == i)
                sum += graph->edge_weight[e] * features->x[graph->source[e] * 3u] * scale[e & 3u] + features->edge_attr[e * 2u];
        put(outputs, 0, i, 1, &sum);
    }
    for (uint32_t g = 0; g < graph->num_graphs; g++) {
        float sum[3] = {0.0f, 0.0f, 0.0f};
        for (uint32_t i = 0; i < graph->num_nodes; i++)
            for (uint32_t c = 0; c < 3u && graph->batch[i] == g; c++)
                sum[c] += features->x[i * 3u + c];
        put(outputs, 1, g, 3, sum);
    }
    return GNN_OK;
}

static const gnn_output_info output_infos[GNN_TINY_OUTPUTS] = {{GNN_NODE, 1}, {GNN_GRAPH, 3}};

const gnn_model gnn_tiny_model = {
    "tiny", GNN_TINY_MAX_NODES, GNN_TINY_MAX_EDGES, GNN_TINY_MAX_GRAPHS, GNN_TINY_MAX_DEGREE, GNN_TINY_FEATURES,
    GNN_TINY_EDGE_FEATURES, 1, 0, 0, GNN_TINY_OUTPUTS, 0, output_infos, EDGES_OFFSET, gnn_tiny_required_bytes,
    gnn_tiny_prepare, gnn_tiny_run,
};
