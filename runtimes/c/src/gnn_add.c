/* In: two arrays of codes. Out: codes of their sum or difference. */
#include "gnn_requantize.h"

void gnn_add(const gnn_add_op *op, const void *a, const void *b, size_t count, void *y)
{
    const gnn_scale scale = gnn_scale_of(&op->requant, 0, op->requant.multiplier[0]);
    size_t i;
    for (i = 0; i < count; ++i) {
        const int32_t left = gnn_load_code(a, op->a_type, i) - op->a_zero, right = gnn_load_code(b, op->b_type, i) - op->b_zero;
        gnn_store_code(y, op->y_type, i, gnn_requantize_code(&scale, op->a_scale * left + op->b_scale * right));
    }
}
