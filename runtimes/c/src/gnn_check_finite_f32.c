#include "gnn_float.h"
#include "gnn_kernels.h"

gnn_status gnn_check_finite_f32(const float *x, size_t count)
{
    uint32_t refused = 0; /* without an early exit the loop vectorizes */
    for (size_t i = 0; i < count; ++i) {
        refused |= (uint32_t)!gnn_is_finite(x[i]);
    }
    return refused == 0u ? GNN_OK : GNN_ERROR_VALUE;
}
