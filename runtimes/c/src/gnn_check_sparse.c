/* In: columns of ones of binary features. Out: whether they can be used. */
#include "gnn_ascending.h"

gnn_status gnn_check_sparse(const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows, uint32_t features)
{
    uint32_t begin = x_pointer[0], end, r;
    if (begin != 0u) {
        return GNN_ERROR_VALUE;
    }
    for (r = 1; r <= rows; ++r) { /* all pointers first: they bound what is read of x_index */
        end = x_pointer[r];
        if (end < begin || end - begin > features) {
            return GNN_ERROR_VALUE;
        }
        begin = end;
    }
    begin = 0;
    for (r = 1; r <= rows; ++r) {
        end = x_pointer[r];
        if (end != begin && (x_index[end - 1u] >= features || !gnn_is_ascending(x_index + begin, end - begin))) {
            return GNN_ERROR_VALUE;
        }
        begin = end;
    }
    return GNN_OK;
}
