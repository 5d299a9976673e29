/* In: two arrays of codes. Out: codes of the larger value of each pair. */
#include "gnn_requantize.h"

void gnn_maximum(const gnn_maximum_op *op, const void *a, const void *b, size_t count, void *y)
{
    gnn_scale a_scale, b_scale;
    size_t i;
    gnn_set_scale(&a_scale, &op->a_requant, 0, GNN_NO_FACTOR);
    gnn_set_scale(&b_scale, &op->b_requant, 0, GNN_NO_FACTOR);
    for (i = 0; i < count; ++i) {
        const int32_t left = gnn_requantized(&a_scale, gnn_load_code(a, op->a_type, i) - op->a_zero);
        const int32_t right = gnn_requantized(&b_scale, gnn_load_code(b, op->b_type, i) - op->b_zero);
        gnn_store_code(y, op->y_type, i, left > right ? left : right);
    }
}
