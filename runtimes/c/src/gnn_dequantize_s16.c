/* In: int16 codes with one scale. Out: floats. */
#include "gnn_float.h"
#include "gnn_kernels.h"

void gnn_dequantize_s16(const int16_t *x, size_t count, float scale, float *y)
{
    const float *const end = y + count;
    for (; end - y >= 4; x += 4, y += 4) {
        y[0] = (float)x[0] * scale; /* 24 bits by 24 bits: the product of doubles would be exact, so there is one rounding either way */
        y[1] = (float)x[1] * scale;
        y[2] = (float)x[2] * scale;
        y[3] = (float)x[3] * scale;
    }
    while (y != end) {
        *y++ = (float)*x++ * scale;
    }
}
