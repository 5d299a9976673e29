/* Sums of rows of codes that an index names: the edge loop of the integer Propagate, and Linear on sparse binary features. */
#ifndef GNN_SUM_ROWS_H
#define GNN_SUM_ROWS_H

#include "gnn_copy.h"
#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_SUM_WIDTH 4u /* channels that gnn_sum_rows adds at a time */

/* sum of x[index[e]][c] over e. */
static GNN_INLINE int32_t gnn_sum_column(const void *x, gnn_type type, uint32_t stride, uint32_t c, const uint16_t *index, uint32_t count)
{
    int32_t sum = 0;
    uint32_t e;
    for (e = 0; e < count; ++e) {
        sum += gnn_load_code(x, type, (size_t)index[e] * stride + c);
    }
    return sum;
}

/* total[k] = sum of x[index[e]][c + k] over e, for GNN_SUM_WIDTH channels. */
static GNN_INLINE void gnn_sum_rows(const void *x, gnn_type type, uint32_t stride, uint32_t c, const uint16_t *index, uint32_t count,
                                    int32_t *total)
{
    int32_t a = 0, b = 0, d = 0, f = 0;
    uint32_t e;
    for (e = 0; e < count; ++e) {
        const size_t at = (size_t)index[e] * stride + c;
        a += gnn_load_code(x, type, at);
        b += gnn_load_code(x, type, at + 1u);
        d += gnn_load_code(x, type, at + 2u);
        f += gnn_load_code(x, type, at + 3u);
    }
    total[0] = a;
    total[1] = b;
    total[2] = d;
    total[3] = f;
}

#ifdef __cplusplus
}
#endif
#endif
