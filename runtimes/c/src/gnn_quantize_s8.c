/* In: floats. Out: int8 codes. */
#include "gnn_quantize.h"

void gnn_quantize_s8(const gnn_quantize_op *op, const float *x, uint32_t rows, int8_t *y, uint32_t y_stride)
{
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < op->channels; ++c) {
            y[c] = (int8_t)gnn_quantized(op, *x++);
        }
        y += y_stride;
    }
}
