#include "gnn_copy.h"
#include "gnn_kernels.h"

void gnn_gather(const void *x, const uint16_t *index, size_t row_bytes, uint32_t rows, void *y)
{
    const unsigned char *const from = (const unsigned char *)x;
    unsigned char *const to = (unsigned char *)y;
    for (uint32_t r = 0; r < rows; ++r) {
        GNN_COPY(to + r * row_bytes, from + index[r] * row_bytes, row_bytes);
    }
}
