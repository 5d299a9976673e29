#include "gnn_kernels.h"

uint32_t gnn_targets(const uint32_t *row_pointer, uint32_t row, uint32_t first, uint32_t rows, uint16_t *target)
{
    for (uint32_t r = 0; r < rows; ++r) {
        while (first + r >= row_pointer[row + 1u]) {
            ++row;
        }
        target[r] = (uint16_t)row;
    }
    return row;
}
