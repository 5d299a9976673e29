/* In: columns of ones of binary features. Out: whether they can be used. */
#include "gnn_ascending.h"

gnn_status gnn_check_sparse(const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows, uint32_t features)
{
    const uint32_t *const last = x_pointer + rows;
    const uint32_t *pointer = x_pointer;
    const uint16_t *x = x_index;
    uint32_t wrong = *pointer;
    if (wrong != 0u) {
        return GNN_ERROR_VALUE;
    }
    while (pointer != last) { /* all pointers first: they bound what is read of x_index */
        const uint32_t begin = *pointer++;
        if (*pointer < begin || *pointer - begin > features) {
            return GNN_ERROR_VALUE;
        }
    }
    pointer = x_pointer;
    while (pointer != last) {
        const uint16_t *const end = x_index + *++pointer;
        if (x != end) {
            wrong |= (uint32_t)(end[-1] >= features) | gnn_not_ascending(x, end);
        }
        x = end;
    }
    return wrong == 0u ? GNN_OK : GNN_ERROR_VALUE;
}
