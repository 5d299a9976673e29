/* In: int16 logits of all edges. Out: int16 weights that sum to 32767 over the in-edges of every node. */
#include "gnn_kernels.h"

#define ZERO_FROM (32u << 16) /* exponent from which on all binary digits are shifted out */

/* round(2^(15 - i/32)) */
static const uint16_t powers[33] = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386, 25821, 25268, 24726, 24196, 23678, 23170,
    22674, 22188, 21713, 21247, 20792, 20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* 2^guard times exp(-scale * difference) in Q15. */
static uint32_t exponential(const gnn_edge_softmax_op *op, uint32_t difference, uint32_t guard)
{
    const uint32_t reached = difference < op->reach ? difference : op->reach;
    const uint32_t u = (reached * op->multiplier) >> op->shift, place = (u >> 11) & 31u, n = u >> 16;
    const uint32_t p = powers[place] - (((uint32_t)(powers[place] - powers[place + 1u]) * (u & 2047u)) >> 11);
    return u >= ZERO_FROM ? 0u : ((p << guard) + ((1u << n) >> 1)) >> n;
}

void gnn_edge_softmax_s16(const gnn_edge_softmax_op *op, const uint32_t *row_pointer, uint32_t num_nodes, const int16_t *x, int16_t *y)
{
    const uint32_t heads = op->heads;
    uint32_t i, h;
    for (i = 0; i < num_nodes; ++i) {
        const uint32_t degree = row_pointer[i + 1u] - row_pointer[i];
        const size_t begin = (size_t)row_pointer[i] * heads, end = (size_t)row_pointer[i + 1u] * heads;
        uint32_t guard = 16, rest;
        for (rest = degree - 1u; degree != 0u && rest != 0u; rest >>= 1) {
            --guard; /* as many binary digits as degree - 1 has: the sum of the exponentials is at most 2^31 */
        }
        for (h = 0; h < heads && degree != 0u; ++h) {
            uint32_t total = 0, part = 0, before = 0, k = 16, half, divisor, reciprocal;
            int32_t top = x[begin + h];
            size_t e;
            for (e = begin + h; e < end; e += heads) {
                top = x[e] > top ? x[e] : top;
            }
            for (e = begin + h; e < end; e += heads) {
                total += exponential(op, (uint32_t)(top - x[e]), guard);
            }
            while (total >> (k + 15u) == 0u) {
                --k; /* it is 2^15 at least: the largest exponential */
            }
            half = (1u << k) >> 1;
            divisor = (total + half) >> k;
            reciprocal = (0x80000000u + (divisor >> 1)) / divisor;
            for (e = begin + h; e < end; e += heads) {
                uint32_t share;
                part += exponential(op, (uint32_t)(top - x[e]), guard);
                share = (((part + half) >> k) * reciprocal + 0x8000u) >> 16; /* 2^15 for all */
                share -= share > 0x4000u;
                y[e] = (int16_t)(share - before);
                before = share;
            }
        }
    }
}
