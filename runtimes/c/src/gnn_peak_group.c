/* In: codes. Out: the groups of the largest magnitudes of their rows. */
#include "gnn_requantize.h"

void gnn_peak_group(const gnn_peak_group_op *op, const void *x, uint32_t x_stride, uint32_t rows, int16_t *group)
{
    const uint32_t channels = op->channels;
    uint32_t r, c, k;
    for (r = 0; r < rows; ++r) {
        int32_t peak = 0;
        for (c = 0; c < channels; ++c) {
            const int32_t code = gnn_load_code(x, op->x_type, (size_t)r * x_stride + c) - op->zero_point;
            const int32_t magnitude = code < 0 ? -code : code;
            peak = magnitude > peak ? magnitude : peak;
        }
        for (k = 0; k < op->bounds && peak > op->bound[k]; ++k) {
        }
        group[r] = (int16_t)k;
    }
}
