/* In: columns of ones of binary features. Out: codes or accumulators of a Linear on them. */
#include "gnn_sum_rows.h"

void gnn_linear_sparse(const gnn_linear_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first, uint32_t rows,
                       const int32_t *row_factor, gnn_type y_type, void *y, int32_t *scratch)
{
    const uint32_t out = layer->out, width = out >= GNN_SUM_WIDTH ? GNN_SUM_WIDTH : 1u;
    uint32_t r, c, k;
    (void)scratch;
    for (r = 0; r < rows; ++r) {
        const uint32_t begin = x_pointer[first + r], count = x_pointer[first + r + 1u] - begin;
        for (c = 0; c < out; c += width) {
            const uint32_t at = c + width <= out ? c : out - width;
            int32_t total[GNN_SUM_WIDTH];
            if (width == GNN_SUM_WIDTH) {
                gnn_sum_rows(layer->weight, GNN_S8, out, at, x_index + begin, count, total);
            } else {
                total[0] = gnn_sum_column(layer->weight, GNN_S8, out, at, x_index + begin, count);
            }
            for (k = 0; k < width; ++k) {
                const uint32_t channel = at + k;
                const size_t to = (size_t)r * out + channel;
                const int32_t acc = total[k] + layer->bias[channel];
                if (y_type == GNN_S32) {
                    ((int32_t *)y)[to] = acc;
                } else {
                    const uint32_t which = layer->requant.per_channel ? channel : 0u;
                    gnn_scale scale;
                    gnn_set_scale(&scale, &layer->requant, which, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
                    gnn_store_code(y, y_type, to, gnn_requantized(&scale, acc));
                }
            }
        }
    }
}
