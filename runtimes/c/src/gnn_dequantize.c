/* In: codes. Out: floats. */
#include "gnn_dequantize.h"

void gnn_dequantize(gnn_type x_type, const void *x, uint32_t x_stride, const float *scale, uint32_t per_channel, int32_t zero_point,
                    uint32_t rows, uint32_t channels, float *y)
{
    const uint32_t step = per_channel != 0u;
    uint32_t r;
    for (r = 0; r < rows; ++r) {
        const float *factor = scale;
        const float *const end = y + channels;
        if (x_type == GNN_S16) {
            const int16_t *code = (const int16_t *)x + (size_t)r * x_stride;
            for (; y != end; factor += step) {
                *y++ = (float)(*code++ - zero_point) * *factor; /* a zero point of this type has 16 bits as well */
            }
        } else {
            uint32_t c;
            for (c = 0; y != end; ++c, factor += step) {
                *y++ = gnn_dequantized(gnn_any_code(x, x_type, (size_t)r * x_stride + c), zero_point, *factor);
            }
        }
    }
}
