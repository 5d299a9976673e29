/* In: codes or accumulators, and the group of each row. Out: codes, scaled by the factor of the group. */
#include "gnn_requantize.h"

/* (bias factor + 2^30) >> 31 without a product of more than 64 bits. */
static int64_t gnn_scaled_bias(int64_t bias, int32_t factor)
{
    return (bias >> 31) * factor + (((bias & INT32_MAX) * factor + ((int64_t)1 << 30)) >> 31);
}

void gnn_row_scale(const gnn_row_scale_op *op, const void *x, uint32_t x_stride, uint32_t rows, const int16_t *group,
                   const int32_t *row_factor, void *y, uint32_t y_stride)
{
    const gnn_requant *requant = &op->requant;
    const int32_t zero = requant->zero_point;
    uint32_t r, c;
    for (r = 0; r < rows; ++r) {
        int32_t factor = op->factor[group[r]], low = requant->low - zero, high = requant->high - zero;
        if (row_factor != NULL) {
            factor = gnn_srdhm(factor, row_factor[r]);
        }
        if (op->limit != NULL) {
            const int32_t limit = op->limit[group[r]];
            low = low < -limit ? -limit : low;
            high = high > limit ? limit : high;
        }
        for (c = 0; c < op->channels; ++c) {
            const uint32_t own = requant->per_channel ? c : 0u, s = requant->shift[own];
            const int32_t acc = gnn_load_code(x, op->x_type, (size_t)r * x_stride + c) - op->zero_point;
            int64_t value = (int64_t)acc * gnn_srdhm(requant->multiplier[own], factor) + ((int64_t)1 << (s - 1u));
            if (op->bias != NULL) {
                value += row_factor != NULL ? gnn_scaled_bias(op->bias[c], row_factor[r]) : op->bias[c];
            }
            value >>= s;
            gnn_store_code(y, op->y_type, (size_t)r * y_stride + c, (value < low ? low : value > high ? high : (int32_t)value) + zero);
        }
    }
}
