/* In: floats. Out: whether all are finite. */
#include "gnn_kernels.h"
#include "gnn_bits.h"

gnn_status gnn_check_finite_f32(const float *x, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        if (!gnn_is_finite(x[i])) {
            return GNN_ERROR_VALUE;
        }
    }
    return GNN_OK;
}
