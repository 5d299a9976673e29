/* In: int8 codes. Out: what a table of 256 codes says of each. */
#include "gnn_kernels.h"

void gnn_table_s8(const int8_t *table, const int8_t *x, size_t count, int8_t *y)
{
    size_t i;
    for (i = 0; i < count; ++i) {
        y[i] = table[x[i] + 128];
    }
}
