/* In: two arrays of codes. Out: codes of their sum or difference. */
#include "gnn_requantize.h"

void gnn_add(const gnn_add_op *op, const void *a, const void *b, size_t count, void *y)
{
    gnn_scale scale;
    size_t i;
    gnn_set_scale(&scale, &op->requant, 0, GNN_NO_FACTOR);
    for (i = 0; i < count; ++i) {
        const int32_t left = gnn_load_code(a, op->a_type, i) - op->a_zero, right = gnn_load_code(b, op->b_type, i) - op->b_zero;
        gnn_store_code(y, op->y_type, i, gnn_requantized(&scale, op->a_scale * left + op->b_scale * right));
    }
}
