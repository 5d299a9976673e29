#include <float.h>

#include "gnn_kernels.h"
#include "gnn_math.h"

/* 1 / sqrt(degree), as numpy rounds it: to float before the root and after. Degrees beyond float give 0. */
static float inverse_root(double degree)
{
    const float rounded = degree > (double)FLT_MAX ? 0.0f : (float)degree;
    return rounded > 0.0f ? 1.0f / gnn_sqrt(rounded) : 0.0f;
}

gnn_status gnn_prepare_scale(const gnn_topology_spec *spec, uint32_t num_nodes, const gnn_topology *topology)
{
    const uint32_t loops = spec->self_loops != GNN_KEEP;
    for (uint32_t i = 0; i < num_nodes; ++i) {
        const uint32_t begin = topology->row_pointer[i], end = topology->row_pointer[i + 1u];
        double degree = (double)(end - begin);
        if (!spec->symmetric) {
            topology->scale[i] = 1.0f;
            continue;
        }
        if (spec->weighted) { /* sums of both signs may cancel, so they are kept in double */
            degree = 0.0;
            for (uint32_t e = begin; e < end; ++e) {
                degree += (double)topology->weight[e];
            }
        } else if (loops) {
            degree += (double)spec->loop_weight - 1.0;
        }
        if (degree < 0.0) {
            return GNN_ERROR_WEIGHT;
        }
        topology->scale[i] = inverse_root(degree);
    }
    return GNN_OK;
}
