/* A bias that joins after the sums and before their only rounding. */
#ifndef GNN_LATE_BIAS_H
#define GNN_LATE_BIAS_H

#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* zero_point + (((total << left_shift) m + bias) >> s), clamped; bias holds the rounding. */
GNN_SHARED int32_t gnn_late_code(const gnn_requant *requant, int32_t total, int32_t m, int64_t bias)
{
    const int32_t zero_point = requant->zero_point, low = requant->low - zero_point, high = requant->high - zero_point;
    const int64_t value = ((int64_t)(int32_t)((uint32_t)total << requant->left_shift) * m + bias) >> requant->shift[0];
    return (value < low ? low : value > high ? high : (int32_t)value) + zero_point;
}

#ifdef __cplusplus
}
#endif
#endif
