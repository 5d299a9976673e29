#include <float.h>

#include "gnn_kernels.h"
#include "gnn_math.h"

/* 1 / sqrt(degree), as numpy rounds it: to float before the root and after. Degrees beyond float give 0. */
static float inverse_root(double degree)
{
    const float rounded = degree > (double)FLT_MAX ? 0.0f : (float)degree;
    return rounded > 0.0f ? 1.0f / gnn_sqrt(rounded) : 0.0f;
}

/* Weights of the edges that leave each node, added up in float where the factors will be: there is no room for more. */
static void add_out_degrees(const gnn_topology_spec *spec, uint32_t num_nodes, const gnn_topology *topology)
{
    for (uint32_t i = 0; i < num_nodes; ++i) {
        topology->scale[i] = 0.0f;
    }
    for (uint32_t i = 0; i < num_nodes; ++i) {
        for (uint32_t e = topology->row_pointer[i]; e < topology->row_pointer[i + 1u]; ++e) {
            const int is_added = topology->source[e] == i && spec->self_loops != GNN_KEEP;
            const float unit = is_added ? spec->loop_weight : 1.0f;
            topology->scale[topology->source[e]] += spec->weighted ? topology->weight[e] : unit;
        }
    }
}

gnn_status gnn_prepare_scale(const gnn_topology_spec *spec, uint32_t num_nodes, const gnn_topology *topology)
{
    if (spec->normalization == GNN_SYMMETRIC_OUT) {
        add_out_degrees(spec, num_nodes, topology);
    }
    for (uint32_t i = 0; i < num_nodes; ++i) {
        const uint32_t begin = topology->row_pointer[i], end = topology->row_pointer[i + 1u];
        double degree = 0.0;
        if (spec->normalization == GNN_NONE || spec->normalization == GNN_DEGREE) {
            topology->scale[i] = spec->normalization == GNN_NONE ? 1.0f : (float)(end - begin);
            continue;
        }
        if (spec->normalization == GNN_SYMMETRIC_OUT) {
            degree = (double)topology->scale[i];
        } else if (spec->weighted) { /* sums of both signs may cancel, so they are kept in double */
            for (uint32_t e = begin; e < end; ++e) {
                degree += (double)topology->weight[e];
            }
        } else {
            degree = (double)(end - begin);
            if (spec->self_loops == GNN_REMAINING || spec->self_loops == GNN_REPLACE) {
                degree += (double)spec->loop_weight - 1.0;
            }
        }
        if (degree < 0.0) {
            return GNN_ERROR_WEIGHT;
        }
        topology->scale[i] = inverse_root(degree);
    }
    return GNN_OK;
}
