/* Sums of rows of codes that an index names. */
#ifndef GNN_SUM_ROWS_H
#define GNN_SUM_ROWS_H

#include "gnn_loop.h"
#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GNN_MVE)

/* total[c] = sum over e of x[index[e]][c], for all columns. */
static GNN_INLINE void gnn_sum_rows(const void *x, gnn_type type, uint32_t channels, const uint16_t *index, uint32_t count, int32_t *total)
{
    const uint32_t width = type == GNN_S8 ? 8u : 4u;
    uint32_t c, e = 0, k;
    for (c = 0; c < channels; c += width) {
        if (type == GNN_S16) {
            const mve_pred16_t used = vctp32q(channels - c);
            int32x4_t sum = vdupq_n_s32(0);
            for (e = 0; e < count; ++e) {
                sum = vaddq_s32(sum, vldrhq_z_s32((const int16_t *)x + (size_t)index[e] * channels + c, used));
            }
            vstrwq_p_s32(total + c, sum, used);
        } else {
            const mve_pred16_t used = vctp16q(channels - c), first = vctp32q(channels - c);
            const mve_pred16_t second = channels - c > 4u ? vctp32q(channels - c - 4u) : 0;
            int32x4_t low = vdupq_n_s32(0), high = low;
            for (e = 0; e < count; e = k) {
                const uint32_t end = count - e < GNN_LANE_COUNT ? count : e + GNN_LANE_COUNT;
                int16x8_t sum = vdupq_n_s16(0);
                int16_t sums[8];
                for (k = e; k < end; ++k) {
                    sum = vaddq_s16(sum, vldrbq_z_s16((const int8_t *)x + (size_t)index[k] * channels + c, used));
                }
                vstrhq_s16(sums, sum);
                low = vaddq_s32(low, vldrhq_s32(sums));
                high = vaddq_s32(high, vldrhq_s32(sums + 4));
            }
            vstrwq_p_s32(total + c, low, first);
            vstrwq_p_s32(total + c + 4, high, second);
        }
    }
}

#else

/* Columns that are summed at a time: in the registers of a microcontroller, in the vectors of others. */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_COLUMNS 4u
#define GNN_FOUR_COLUMNS 1
#else
#define GNN_COLUMNS 16u
#endif

/* total[k] = sum over e of x[index[e]][c + k], k < width, a constant: GNN_COLUMNS or 1. */
static GNN_INLINE void gnn_sum_tile(const void *x, gnn_type type, uint32_t stride, uint32_t c, uint32_t width, const uint16_t *index,
                                    uint32_t count, int32_t *total)
{
    uint32_t e;
#if defined(GNN_FOUR_COLUMNS)
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (e = 0; e < count; ++e) {
        const size_t at = (size_t)index[e] * stride + c;
        s0 += gnn_load_code(x, type, at);
        if (width != 1u) {
            s1 += gnn_load_code(x, type, at + 1u);
            s2 += gnn_load_code(x, type, at + 2u);
            s3 += gnn_load_code(x, type, at + 3u);
        }
    }
    total[0] = s0;
    if (width != 1u) {
        total[1] = s1;
        total[2] = s2;
        total[3] = s3;
    }
#else
    int32_t sum[GNN_COLUMNS] = {0};
    uint32_t k;
    for (e = 0; e < count; ++e) {
        const size_t at = (size_t)index[e] * stride + c;
        GNN_VECTOR_LOOP
        for (k = 0; k < width; ++k) {
            sum[k] += gnn_load_code(x, type, at + k);
        }
    }
    GNN_VECTOR_LOOP
    for (k = 0; k < width; ++k) {
        total[k] = sum[k];
    }
#endif
}

/* total[c] = sum over e of x[index[e]][c], for all columns. */
static GNN_INLINE void gnn_sum_rows(const void *x, gnn_type type, uint32_t channels, const uint16_t *index, uint32_t count, int32_t *total)
{
    uint32_t c;
    if (channels < GNN_COLUMNS) {
        for (c = 0; c < channels; ++c) {
            gnn_sum_tile(x, type, channels, c, 1, index, count, total + c);
        }
    } else {
        for (c = 0; c < channels; c += GNN_COLUMNS) {
            if (c > channels - GNN_COLUMNS) {
                c = channels - GNN_COLUMNS; /* the last tile overlaps the one before */
            }
            gnn_sum_tile(x, type, channels, c, GNN_COLUMNS, index, count, total + c);
        }
    }
}

#endif

#ifdef __cplusplus
}
#endif
#endif
