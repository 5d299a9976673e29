/* In: columns of ones of binary features. Out: codes or accumulators of a Linear on them. */
#include "gnn_linear_sparse_dsp.h"
#include "gnn_sum_rows.h"

void gnn_linear_sparse(const gnn_linear_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first, uint32_t rows,
                       const int32_t *row_factor, gnn_type y_type, void *y, int32_t *scratch)
{
    const uint32_t out = layer->out;
    uint32_t r, c;
    x_pointer += first;
#if defined(GNN_DSP)
    if (rows <= GNN_ROWS && gnn_linear_sparse_rows(layer, x_pointer, x_index, rows, row_factor, y_type, y)) {
        return;
    }
#endif
    for (r = 0; r < rows; ++r) {
        gnn_sum_rows(layer->weight, GNN_S8, out, x_index + x_pointer[r], x_pointer[r + 1u] - x_pointer[r], scratch);
        for (c = 0; c < out; ++c) {
            const size_t at = (size_t)r * out + c;
            const int32_t acc = scratch[c] + layer->bias[c];
            if (y_type == GNN_S32) {
                ((int32_t *)y)[at] = acc;
            } else {
                gnn_scale scale;
                gnn_set_scale(&scale, &layer->requant, layer->requant.per_channel ? c : 0u, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
                gnn_store_code(y, y_type, at, gnn_requantized(&scale, acc));
            }
        }
    }
}
