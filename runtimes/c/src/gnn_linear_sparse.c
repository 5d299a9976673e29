/* In: columns of ones of binary features. Out: codes or accumulators of a Linear on them. */
#include "gnn_linear_sparse_dsp.h"
#include "gnn_sum_rows.h"

/* One row of codes or accumulators from the sums of its channels. */
static GNN_INLINE void gnn_finish_sparse_row(const gnn_linear_sparse_layer *layer, const int32_t *sum, int32_t factor, gnn_type type, void *y)
{
    const gnn_requant *const requant = &layer->requant;
    uint32_t c;
    for (c = 0; c < layer->out; ++c) {
        const int32_t acc = sum[c] + layer->bias[c];
        if (type == GNN_S32) {
            ((int32_t *)y)[c] = acc;
        } else if (layer->ready != NULL) {
            const gnn_ready_channel *const ready = layer->ready + c;
            const int32_t m = factor < 0 ? ready->multiplier : gnn_srdhm(ready->multiplier, factor);
            const int32_t code = gnn_add_high(ready->rounding, (int32_t)((uint32_t)acc << requant->left_shift), m) >> ready->shift;
            gnn_store_code(y, type, c, gnn_clamp(code, requant->low, requant->high));
        } else {
            gnn_scale scale;
            gnn_set_scale(&scale, requant, requant->per_channel ? c : 0u, factor);
            gnn_store_code(y, type, c, gnn_requantized(&scale, acc));
        }
    }
}

static GNN_INLINE void gnn_linear_sparse_block(const gnn_linear_sparse_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows,
                                    const int32_t *row_factor, gnn_type type, uint8_t *y, int32_t *scratch)
{
    const uint32_t out = layer->out, y_bytes = out * (type == GNN_S8 ? 1u : type == GNN_S16 ? 2u : 4u);
    uint32_t r = 0;
    while (r != rows) {
#if defined(GNN_DSP)
        if (type != GNN_S32 && gnn_is_ready(layer, type)) {
            const uint32_t done =
                gnn_ones_rows(layer, x_pointer + r, x_index, rows - r, row_factor == NULL ? NULL : row_factor + r, type, y);
            r += done;
            y += done * y_bytes;
            if (r == rows) {
                break;
            }
        }
#endif
        gnn_sum_rows(layer->weight, GNN_S8, out, x_index + x_pointer[r], x_pointer[r + 1u] - x_pointer[r], scratch);
        gnn_finish_sparse_row(layer, scratch, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r], type, y);
        ++r;
        y += y_bytes;
    }
}

void gnn_linear_sparse(const gnn_linear_sparse_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first,
                       uint32_t rows, const int32_t *row_factor, gnn_type y_type, void *y, int32_t *scratch)
{
    x_pointer += first;
    if (y_type == GNN_S8) {
        gnn_linear_sparse_block(layer, x_pointer, x_index, rows, row_factor, GNN_S8, (uint8_t *)y, scratch);
    } else if (y_type == GNN_S16) {
        gnn_linear_sparse_block(layer, x_pointer, x_index, rows, row_factor, GNN_S16, (uint8_t *)y, scratch);
    } else {
        gnn_linear_sparse_block(layer, x_pointer, x_index, rows, row_factor, GNN_S32, (uint8_t *)y, scratch);
    }
}
