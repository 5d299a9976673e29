#include "gnn_finish.h"
#include "gnn_kernels.h"
#include "gnn_loop.h"
#include "gnn_variant.h"

/* y[0..width) = sums of the rows of weights that x_index names. width is at most GNN_LANES, and constant in the call for a full tile. */
static GNN_INLINE void sum_tile(const float *weight, uint32_t stride, const uint16_t *x_index, uint32_t count, uint32_t width, float *y)
{
    float sums[GNN_LANES] = {0};
    for (uint32_t k = 0; k < count; ++k) {
        const float *const row = weight + (size_t)x_index[k] * stride;
        GNN_VECTOR_LOOP
        for (uint32_t o = 0; o < width; ++o) {
            sums[o] += row[o];
        }
    }
    for (uint32_t o = 0; o < width; ++o) {
        y[o] = sums[o];
    }
}

void gnn_linear_sparse_f32(const gnn_linear_f32_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first,
                           uint32_t rows, const float *scale, float *y)
{
    const uint32_t out = layer->out;
    for (uint32_t r = 0; r < rows; ++r, y += out) {
        const uint16_t *const columns = x_index + x_pointer[first + r];
        const uint32_t count = x_pointer[first + r + 1u] - x_pointer[first + r];
        uint32_t c = 0;
        for (; out - c >= GNN_LANES; c += GNN_LANES) {
            sum_tile(layer->weight + c, out, columns, count, GNN_LANES, y + c);
        }
        if (c != out) {
            sum_tile(layer->weight + c, out, columns, count, out - c, y + c);
        }
        gnn_finish_row_f32(y, out, layer->bias, layer->relu, scale != NULL ? scale + r : NULL);
    }
}
