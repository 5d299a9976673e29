"""An artifact of format "c" written by hand, for tests of what surrounds the exporter: the runtime, the packages, the compiler.

The model adds the in-neighbours to each node: outputs are nodes [N, 2], the edge attributes in the order of the target
nodes [E, 1], and the sum per graph [G, 2].
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolchain.artifact import Artifact, GraphContract, Output, Signature
from toolchain.feeds import Feed, FeedKind
from toolchain.inputs import GraphInputs
from toolchain.topology import TopologySpec

INCLUDES = Path(__file__).parent.parent / "runtimes" / "c" / "include"
MAX_NODES, MAX_EDGES, MAX_GRAPHS, MAX_DEGREE = 6, 10, 2, 4

HEADER = """\
#ifndef GNN_TINY_H
#define GNN_TINY_H
#include "gnn.h"
#ifdef __cplusplus
extern "C" {
#endif
#define GNN_TINY_MAX_NODES 6u
#define GNN_TINY_MAX_EDGES 10u
#define GNN_TINY_MAX_GRAPHS 2u
#define GNN_TINY_MAX_DEGREE 4u
#define GNN_TINY_FEATURES 2u
#define GNN_TINY_EDGE_FEATURES 1u
#define GNN_TINY_OUTPUTS 3u
#define GNN_TINY_ARENA_BYTES sizeof(gnn_tiny_arena)
typedef struct gnn_tiny_arena {
    uint32_t magic, num_nodes, num_edges, num_graphs, row_pointer[7], origin[10];
    uint16_t source[10], graph[6];
} gnn_tiny_arena;
size_t gnn_tiny_required_bytes(void);
gnn_status gnn_tiny_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes);
gnn_status gnn_tiny_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs);
extern const gnn_model gnn_tiny_model;
#ifdef __cplusplus
}
#endif
#endif
"""

SOURCE = """\
#include "model.h"
#define MAGIC 0x54494e59u

size_t gnn_tiny_required_bytes(void) { return GNN_TINY_ARENA_BYTES; }

static gnn_status check_arena(const void *arena, size_t bytes)
{
    if (arena == NULL)
        return GNN_ERROR_NULL;
    return bytes < GNN_TINY_ARENA_BYTES || (uintptr_t)arena % GNN_ALIGNMENT ? GNN_ERROR_ARENA : GNN_OK;
}

gnn_status gnn_tiny_prepare(const gnn_graph *graph, void *arena, size_t arena_bytes)
{
    gnn_tiny_arena *a = arena;
    gnn_status status = check_arena(arena, arena_bytes);
    uint32_t i, e, count = 0;
    if (status != GNN_OK)
        return status;
    a->magic = 0;
    if (graph == NULL || (graph->num_edges != 0 && (graph->source == NULL || graph->target == NULL)))
        return GNN_ERROR_NULL;
    if (graph->num_nodes == 0 || graph->num_nodes > GNN_TINY_MAX_NODES)
        return GNN_ERROR_NODES;
    if (graph->num_edges > GNN_TINY_MAX_EDGES)
        return GNN_ERROR_EDGES;
    if (graph->num_graphs == 0 || graph->num_graphs > GNN_TINY_MAX_GRAPHS)
        return GNN_ERROR_GRAPHS;
    for (e = 0; e < graph->num_edges; e++)
        if (graph->source[e] >= graph->num_nodes || graph->target[e] >= graph->num_nodes)
            return GNN_ERROR_INDEX;
    for (i = 0; i < graph->num_nodes; i++) {
        a->row_pointer[i] = count;
        for (e = 0; e < graph->num_edges; e++)
            if (graph->target[e] == i) {
                a->source[count] = graph->source[e];
                a->origin[count++] = e;
            }
        if (count - a->row_pointer[i] > GNN_TINY_MAX_DEGREE)
            return GNN_ERROR_DEGREE;
        a->graph[i] = graph->batch == NULL ? 0 : graph->batch[i];
        if (a->graph[i] >= graph->num_graphs || (i > 0 && a->graph[i] < a->graph[i - 1]))
            return GNN_ERROR_BATCH;
    }
    a->row_pointer[i] = count;
    a->num_nodes = graph->num_nodes;
    a->num_edges = graph->num_edges;
    a->num_graphs = graph->num_graphs;
    a->magic = MAGIC;
    return GNN_OK;
}

gnn_status gnn_tiny_run(const gnn_features *features, void *arena, size_t arena_bytes, const gnn_outputs *outputs)
{
    const gnn_tiny_arena *a = arena;
    gnn_status status = check_arena(arena, arena_bytes);
    uint32_t i, e, c;
    if (status != GNN_OK)
        return status;
    if (a->magic != MAGIC)
        return GNN_ERROR_NOT_PREPARED;
    if (features == NULL || features->x == NULL || features->edge_attr == NULL || outputs == NULL || outputs->values == NULL)
        return GNN_ERROR_NULL;
    for (i = 0; i < 2 * a->num_graphs; i++)
        outputs->values[2][i] = 0.0f;
    for (i = 0; i < a->num_nodes; i++)
        for (c = 0; c < 2; c++) {
            float sum = features->x[2 * i + c];
            for (e = a->row_pointer[i]; e < a->row_pointer[i + 1]; e++)
                sum += features->x[2u * a->source[e] + c];
            outputs->values[0][2 * i + c] = sum;
            outputs->values[2][2u * a->graph[i] + c] += sum;
        }
    for (e = 0; e < a->num_edges; e++)
        outputs->values[1][e] = features->edge_attr[a->origin[e]];
    return GNN_OK;
}

static const gnn_output_info infos[GNN_TINY_OUTPUTS] = {{GNN_NODE, 2}, {GNN_EDGE, 1}, {GNN_GRAPH, 2}};
const gnn_model gnn_tiny_model = {
    "tiny", GNN_TINY_MAX_NODES, GNN_TINY_MAX_EDGES, GNN_TINY_MAX_GRAPHS, GNN_TINY_MAX_DEGREE, GNN_TINY_FEATURES,
    GNN_TINY_EDGE_FEATURES, 0, 0, 0, GNN_TINY_OUTPUTS, 0, infos, 0, gnn_tiny_required_bytes, gnn_tiny_prepare, gnn_tiny_run,
};
"""

OUTPUTS = (Output("output_0", "node", 2), Output("output_1", "edge", 1), Output("output_2", "graph", 2))
CONTRACT: Mapping[str, Any] = {
    "topologies": (TopologySpec(),), "features": 2, "edge_features": 1, "max_nodes": MAX_NODES, "max_edges": MAX_EDGES,
    "max_graphs": MAX_GRAPHS, "max_degree": MAX_DEGREE,
}  # fmt: skip


def write_tiny(
    path: Path, *, source: str = SOURCE, outputs: tuple[Output, ...] = OUTPUTS, extra: Mapping[str, bytes] | None = None,
    provenance: Mapping[str, Any] | None = None, **contract: Any,
) -> Artifact:  # fmt: skip
    """The artifact; arguments replace parts of it, so that a test can make one that lies."""
    contents = {"model.c": source.encode(), "model.h": HEADER.encode(), "gnn.h": (INCLUDES / "gnn.h").read_bytes()}
    feeds = (Feed("x", FeedKind.X), Feed("edge_attr", FeedKind.EDGE_ATTR, 0))
    artifact = Artifact(
        path, "c", "float32", "model.c", Signature(feeds, outputs), GraphContract(**{**CONTRACT, **contract}),
        provenance={"name": "tiny", "name_in_c": "tiny", **(provenance or {})},
    )  # fmt: skip
    return Artifact.save(artifact, {**contents, **(extra or {})})


def tiny_graph(seed: int = 0, nodes: int = 5, edges: int = 8, graphs: int = 2) -> GraphInputs:
    """A graph that the model takes: no node has more than MAX_DEGREE in-edges."""
    rng = np.random.default_rng(seed)
    edge_index = np.stack([rng.integers(0, nodes, edges), rng.permutation(np.arange(edges) % nodes)])
    batch = np.sort(rng.integers(0, graphs, nodes))
    x, edge_attr = rng.standard_normal((nodes, 2), np.float32), rng.standard_normal((edges, 1), np.float32)
    return GraphInputs(x, edge_index, edge_attr=edge_attr, batch=batch, num_graphs=graphs)


def tiny_outputs(graph: GraphInputs) -> tuple[np.ndarray, ...]:
    """What the model computes, in numpy."""
    source, target = graph.edge_index
    order = np.argsort(target, kind="stable")
    y = graph.x.copy()
    np.add.at(y, target[order], graph.x[source[order]])
    pooled = np.zeros((graph.num_graphs, 2), np.float32)
    np.add.at(pooled, graph.graph_index, y)
    assert graph.edge_attr is not None
    return y, graph.edge_attr[order], pooled
