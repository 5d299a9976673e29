#include "gnn_copy.h"
#include "gnn_kernels.h"

void gnn_copy_rows(const void *x, size_t x_stride, size_t row_bytes, uint32_t rows, void *y, size_t y_stride)
{
    const unsigned char *from = (const unsigned char *)x;
    unsigned char *to = (unsigned char *)y;
    if (x_stride == row_bytes && y_stride == row_bytes) {
        GNN_COPY(to, from, row_bytes * rows);
        return;
    }
    for (uint32_t r = 0; r < rows; ++r) {
        GNN_COPY(to + r * y_stride, from + r * x_stride, row_bytes);
    }
}
