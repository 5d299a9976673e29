/* In: floats. Out: int8 codes. */
#include "gnn_kernels.h"
#include "gnn_round.h"

void gnn_quantize_s8(const gnn_quantize_op *op, const float *x, uint32_t rows, int8_t *y, uint32_t y_stride)
{
    const int32_t zero_point = op->zero_point;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < op->channels; ++c) {
            const int32_t code = gnn_round_f32(*x++ * op->inverse_scale, op->low - zero_point, op->high - zero_point) + zero_point;
            y[(size_t)r * y_stride + c] = (int8_t)code;
        }
    }
}
