/* In: codes. Out: codes of their LeakyReLU, by two requantizations. */
#include "gnn_requantize.h"

void gnn_leaky_relu(const gnn_leaky_relu_op *op, const void *x, size_t count, void *y)
{
    const gnn_type x_type = op->x_type, y_type = op->y_type;
    const int32_t zero_point = op->zero_point;
    gnn_scale above, below;
    size_t i;
    gnn_set_scale(&above, &op->above, 0, GNN_NO_FACTOR);
    gnn_set_scale(&below, &op->below, 0, GNN_NO_FACTOR);
    for (i = 0; i < count; ++i) {
        const int32_t value = gnn_load_code(x, x_type, i) - zero_point;
        gnn_store_code(y, y_type, i, gnn_requantized(value >= 0 ? &above : &below, value));
    }
}
