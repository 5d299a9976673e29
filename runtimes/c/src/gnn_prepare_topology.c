#include "gnn_fixed.h"
#include "gnn_kernels.h"
#include "gnn_math.h"
#include "gnn_uses.h"

static int belongs(const gnn_topology_spec *spec, const gnn_graph *graph, uint32_t edge)
{
    return !GNN_USES_RELATIONS || spec->relation == 0u || graph->edge_type[edge] + 1u == spec->relation;
}

/* A counting sort: row_pointer counts in-edges, then holds the end of each row, and moves down to its start while the edges are
 * placed from the last to the first, which keeps their order. An added self-loop takes the last place of its row. */
gnn_status gnn_prepare_topology(const gnn_topology_spec *spec, const gnn_graph *graph, uint32_t max_edges, uint32_t max_degree,
                                const gnn_topology *out)
{
    const uint32_t num_nodes = graph->num_nodes, num_edges = graph->num_edges;
    const uint16_t *const sources = spec->reversed ? graph->target : graph->source;
    const uint16_t *const targets = spec->reversed ? graph->source : graph->target;
    const int drops = spec->self_loops != GNN_KEEP; /* the given loops */
    const uint32_t loops = drops && spec->self_loops != GNN_REMOVE; /* added to each node, in place of the given ones */
    const int copies_weight = spec->weighted || (!loops && out->weight != NULL);
    const float *const given = copies_weight ? graph->edge_weight : NULL;
    uint32_t *const row_pointer = out->row_pointer;
    uint32_t room = max_edges, total = 0, has_loops = 0;

    if (num_edges != 0u && (sources == NULL || targets == NULL || (copies_weight && given == NULL))) {
        return GNN_ERROR_NULL;
    }
    if (spec->weighted && out->weight == NULL) {
        return GNN_ERROR_NULL;
    }
    if (GNN_USES_RELATIONS && num_edges != 0u && spec->relation != 0u && graph->edge_type == NULL) {
        return GNN_ERROR_NULL;
    }
    if (loops) {
        if (num_nodes > max_edges) {
            return GNN_ERROR_EDGES;
        }
        room -= num_nodes;
    }
    for (uint32_t i = 0; i <= num_nodes; ++i) {
        row_pointer[i] = 0;
    }
    for (uint32_t e = 0; e < num_edges; ++e) {
        const uint32_t source = sources[e], target = targets[e];
        if (source >= num_nodes || target >= num_nodes) {
            return GNN_ERROR_INDEX;
        }
        if (given != NULL && !gnn_is_finite(given[e])) {
            return GNN_ERROR_VALUE;
        }
        if (!belongs(spec, graph, e)) {
            continue;
        }
        if (drops && source == target) {
            has_loops = 1;
        } else if (room == 0u) {
            return GNN_ERROR_EDGES;
        } else {
            --room;
            ++row_pointer[target];
        }
    }
    for (uint32_t i = 0; i < num_nodes; ++i) {
        const uint32_t degree = row_pointer[i] + loops;
        if (degree > max_degree) {
            return GNN_ERROR_DEGREE;
        }
        total += degree;
        row_pointer[i] = total - loops;
        if (loops) {
            out->source[total - 1u] = (uint16_t)i;
            if (out->origin != NULL) {
                out->origin[total - 1u] = GNN_NO_EDGE;
            }
            if (out->weight != NULL) {
                out->weight[total - 1u] = spec->loop_weight;
            }
        }
        if (out->row_factor != NULL) {
            out->row_factor[i] = gnn_rsqrt_q31(degree);
        }
    }
    row_pointer[num_nodes] = total;
    for (uint32_t e = num_edges; e-- > 0u;) {
        const uint32_t source = sources[e], target = targets[e];
        if (belongs(spec, graph, e) && !(drops && source == target)) {
            const uint32_t place = --row_pointer[target];
            out->source[place] = (uint16_t)source;
            if (out->origin != NULL) {
                out->origin[place] = e;
            }
            if (out->weight != NULL) {
                out->weight[place] = given != NULL ? given[e] : 1.0f;
            }
        }
    }
    if (has_loops && spec->weighted && spec->self_loops == GNN_REMAINING) {
        for (uint32_t e = 0; e < num_edges; ++e) { /* in order, so that the last of repeated loops keeps its weight */
            if (belongs(spec, graph, e) && sources[e] == targets[e]) {
                out->weight[row_pointer[targets[e] + 1u] - 1u] = given[e];
            }
        }
    }
    return GNN_OK;
}
