#include "gnn_kernels.h"

gnn_status gnn_check_sparse(const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows, uint32_t features)
{
    if (x_pointer[0] != 0u) {
        return GNN_ERROR_VALUE;
    }
    for (uint32_t r = 0; r < rows; ++r) { /* all pointers first: they bound what is read of x_index */
        if (x_pointer[r + 1u] < x_pointer[r] || x_pointer[r + 1u] - x_pointer[r] > features) {
            return GNN_ERROR_VALUE;
        }
    }
    for (uint32_t r = 0; r < rows; ++r) {
        uint32_t least = 0;
        for (uint32_t k = x_pointer[r]; k < x_pointer[r + 1u]; ++k) {
            if (x_index[k] < least || x_index[k] >= features) {
                return GNN_ERROR_VALUE;
            }
            least = x_index[k] + 1u;
        }
    }
    return GNN_OK;
}
