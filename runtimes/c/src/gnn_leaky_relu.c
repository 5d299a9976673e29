/* In: codes. Out: codes of their LeakyReLU, by two requantizations. */
#include "gnn_requantize.h"

void gnn_leaky_relu(const gnn_leaky_relu_op *op, const void *x, size_t count, void *y)
{
    gnn_scale above, below;
    size_t i;
    gnn_set_scale(&above, &op->above, 0, GNN_NO_FACTOR);
    gnn_set_scale(&below, &op->below, 0, GNN_NO_FACTOR);
    for (i = 0; i < count; ++i) {
        const int32_t value = gnn_load_code(x, op->x_type, i) - op->zero_point;
        gnn_store_code(y, op->y_type, i, gnn_requantized(value >= 0 ? &above : &below, value));
    }
}
