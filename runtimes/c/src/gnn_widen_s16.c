/* In: int16 rows. Out: int16 rows with a stride of a multiple of 4. */
#include "gnn_kernels.h"

void gnn_widen_s16(const int16_t *x, uint32_t channels, uint32_t rows, int16_t *y)
{
    const uint32_t stride = (channels + 3u) & ~3u;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        for (c = 0; c < channels; ++c) {
            y[(size_t)r * stride + c] = *x++;
        }
    }
}
