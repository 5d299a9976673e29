/* Rows of an integer Pool, for either type of x. */
#ifndef GNN_POOL_H
#define GNN_POOL_H

#include "gnn_requantize.h"
#include "gnn_search.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GNN_DSP)
/* acc[c] += x[c] - zero_point, four columns at a time; returns how many columns that are. */
static GNN_INLINE uint32_t gnn_pool_words(const int8_t *x, uint32_t channels, int32_t zero_point, int32_t *acc)
{
    const int8_t *const end = x + (channels & ~3u);
    const uint32_t zeros = gnn_both_halves(zero_point);
    uint32_t odd, even;
    while (x != end) {
        __asm__ volatile("ldr %[odd], [%[x]], #4\n\t"
                         "sxtb16 %[even], %[odd]\n\t"
                         "sxtb16 %[odd], %[odd], ror #8\n\t"
                         "ssub16 %[even], %[even], %[zeros]\n\t"
                         "ssub16 %[odd], %[odd], %[zeros]\n\t"
                         "ldmia %[acc], {r8-r11}\n\t"
                         "sxtah r8, r8, %[even]\n\t"
                         "sxtah r9, r9, %[odd]\n\t"
                         "sxtah r10, r10, %[even], ror #16\n\t"
                         "sxtah r11, r11, %[odd], ror #16\n\t"
                         "stmia %[acc]!, {r8-r11}"
                         : [x] "+&r"(x), [acc] "+&r"(acc), [odd] "=&r"(odd), [even] "=&r"(even)
                         : [zeros] "r"(zeros)
                         : "r8", "r9", "r10", "r11", "memory");
    }
    return channels & ~3u;
}
#elif defined(GNN_MVE)
/* The same for all columns. */
static GNN_INLINE uint32_t gnn_pool_words(const int8_t *x, uint32_t channels, int32_t zero_point, int32_t *acc)
{
    uint32_t c;
    for (c = 0; c < channels; c += 4u) {
        const mve_pred16_t used = vctp32q(channels - c);
        const int32x4_t value = vsubq_n_s32(vldrbq_z_s32(x + c, used), zero_point);
        vstrwq_p_s32(acc + c, vaddq_s32(vldrwq_z_s32(acc + c, used), value), used);
    }
    return channels;
}
#endif

static GNN_INLINE void gnn_pool_block(const gnn_pool_op *op, const void *x, gnn_type type, uint32_t x_stride, const uint32_t *graph_pointer,
                                      uint32_t num_graphs, uint32_t first, uint32_t rows, int32_t *acc)
{
    const uint32_t channels = op->channels, end = first + rows;
    const gnn_reduce reduce = op->reduce;
    uint32_t c;
    for (; first != end; ++first) {
        int32_t *const sum = acc + (size_t)gnn_graph_of(graph_pointer, num_graphs, first) * channels;
        c = 0;
#if defined(GNN_DSP) || defined(GNN_MVE)
        if (type == GNN_S8 && (!GNN_USES_EXTREMES || (reduce != GNN_MAX && reduce != GNN_MIN))) {
            c = gnn_pool_words((const int8_t *)x, channels, op->zero_point, sum);
        }
#endif
        for (; c < channels; ++c) {
            int32_t value = gnn_load_code(x, type, c) - op->zero_point;
            if (GNN_USES_EXTREMES && reduce == GNN_MAX) {
                value = sum[c] > value ? sum[c] : value;
            } else if (GNN_USES_EXTREMES && reduce == GNN_MIN) {
                value = sum[c] < value ? sum[c] : value;
            } else {
                value += sum[c];
            }
            sum[c] = value;
        }
        x = (const uint8_t *)x + (size_t)x_stride * (type == GNN_S8 ? 1u : 2u);
    }
}

#ifdef __cplusplus
}
#endif
#endif
