/* In: two arrays of codes. Out: codes of the larger value of each pair. */
#include "gnn_requantize.h"

void gnn_maximum(const gnn_maximum_op *op, const void *a, const void *b, size_t count, void *y)
{
    const gnn_scale a_scale = gnn_scale_of(&op->a_requant, 0, op->a_requant.multiplier[0]);
    const gnn_scale b_scale = gnn_scale_of(&op->b_requant, 0, op->b_requant.multiplier[0]);
    size_t i;
    for (i = 0; i < count; ++i) {
        const int32_t left = gnn_requantize_code(&a_scale, gnn_load_code(a, op->a_type, i) - op->a_zero);
        const int32_t right = gnn_requantize_code(&b_scale, gnn_load_code(b, op->b_type, i) - op->b_zero);
        gnn_store_code(y, op->y_type, i, left > right ? left : right);
    }
}
