/* In: the in-edges of a block of nodes. Out: the groups of their in-degrees. */
#include "gnn_kernels.h"

void gnn_degree_group(const gnn_degree_group_op *op, const gnn_topology *topology, uint32_t first, uint32_t rows, int16_t *group)
{
    const uint32_t *row_pointer = topology->row_pointer + first;
    uint32_t r, k;
    for (r = 0; r < rows; ++r) {
        const uint32_t degree = row_pointer[r + 1u] - row_pointer[r];
        for (k = 0; k < op->bounds && degree > op->bound[k]; ++k) {
        }
        group[r] = (int16_t)k;
    }
}
