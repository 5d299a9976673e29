#include "gnn_finish.h"
#include "gnn_kernels.h"

void gnn_linear_sparse_f32(const gnn_linear_f32_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t first,
                           uint32_t rows, const float *scale, float *y)
{
    const uint32_t out = layer->out;
    for (uint32_t r = 0; r < rows; ++r) {
        float *restrict const row = y + (size_t)r * out;
        for (uint32_t o = 0; o < out; ++o) {
            row[o] = 0.0f;
        }
        for (uint32_t k = x_pointer[first + r]; k < x_pointer[first + r + 1u]; ++k) {
            const float *restrict const weight = layer->weight + (size_t)x_index[k] * out;
            for (uint32_t o = 0; o < out; ++o) {
                row[o] += weight[o];
            }
        }
        gnn_finish_row_f32(row, out, layer->bias, layer->relu, scale != NULL ? scale + r : NULL);
    }
}
