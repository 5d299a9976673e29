#include "gnn_kernels.h"

void gnn_range_f32(const float *x, size_t count, float range[2])
{
    float low = 0.0f, high = 0.0f;
    for (size_t i = 0; i < count; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    range[0] = low;
    range[1] = high;
}
