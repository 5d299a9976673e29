/* In: codes. Out: floats. */
#include "gnn_dequantize.h"

void gnn_dequantize(gnn_type x_type, const void *x, uint32_t x_stride, const float *scale, uint32_t per_channel, int32_t zero_point,
                    uint32_t rows, uint32_t channels, float *y)
{
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < channels; ++c) {
            *y++ = gnn_dequantized(gnn_any_code(x, x_type, (size_t)r * x_stride + c), zero_point, scale[per_channel ? c : 0u]);
        }
    }
}
