/* In: codes of a block of edges. Out: codes of the nodes whose in-edges end in it. */
#include "gnn_requantize.h"

void gnn_aggregate(const gnn_aggregate_op *op, const uint32_t *row_pointer, const uint16_t *target, const void *x, uint32_t first,
                   uint32_t rows, int32_t *acc, void *y)
{
    const uint32_t channels = op->channels;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        const uint32_t node = target[r], begin = row_pointer[node], end = row_pointer[node + 1u];
        const int is_first = first + r == begin;
        for (c = 0; c < channels; ++c) {
            const int32_t value = gnn_load_code(x, op->x_type, (size_t)r * channels + c) - op->zero_point;
            if (is_first) {
                acc[c] = value;
            } else if (op->reduce == GNN_MAX) {
                acc[c] = acc[c] > value ? acc[c] : value;
            } else if (op->reduce == GNN_MIN) {
                acc[c] = acc[c] < value ? acc[c] : value;
            } else {
                acc[c] += value;
            }
        }
        if (first + r + 1u == end) {
            gnn_scale scale;
            gnn_set_scale(&scale, &op->requant, 0, op->reduce == GNN_MEAN ? gnn_recip_q31(end - begin) : GNN_NO_FACTOR);
            for (c = 0; c < channels; ++c) {
                gnn_store_code(y, op->y_type, (size_t)node * channels + c, gnn_requantized(&scale, acc[c]));
            }
        }
    }
}
