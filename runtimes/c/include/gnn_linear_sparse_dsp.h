/* Linear on sparse binary features with the Arm DSP extension: rows of weights are summed like rows of neighbours, sixteen channels at a time,
 * and requantized like the channels of a dense Linear. */
#ifndef GNN_LINEAR_SPARSE_DSP_H
#define GNN_LINEAR_SPARSE_DSP_H

#include "gnn_linear.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_CHANNELS 16u /* that are summed at a time, in lanes of 16 bits */

/* What the sum of one row works on; the assembly knows the offsets. */
typedef struct gnn_ones {
    const uint16_t *index; /* 0 */
    const uint16_t *end;   /* 4 */
    uint32_t stride;       /* 8: bytes from a row of weights to the next */
    const int8_t *weight;  /* 12: first row, at the current channels, on 4 bytes */
    int32_t *sum;          /* 16: GNN_ROWS places from a channel to the next */
} gnn_ones;

/* Four sums of the lanes of two registers, `at` bytes and on from r12. */
#define GNN_STORE_LANES(even, odd, at0, at1, at2, at3)                                                                                 \
    "sxth r8, " even "\n\t"                                                                                                            \
    "sxth r9, " odd "\n\t"                                                                                                             \
    "asr r10, " even ", #16\n\t"                                                                                                       \
    "asr r11, " odd ", #16\n\t"                                                                                                        \
    "str r8, [r12, #" at0 "]\n\t"                                                                                                      \
    "str r9, [r12, #" at1 "]\n\t"                                                                                                      \
    "str r10, [r12, #" at2 "]\n\t"                                                                                                     \
    "str r11, [r12, #" at3 "]\n\t"

/* sum[GNN_ROWS * c] = sum over the ones k of weight[k][c], for GNN_CHANNELS channels and at most GNN_LANE_COUNT ones. */
static GNN_NOINLINE void gnn_sum_ones(const gnn_ones *ones)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)ones;
    __asm__ volatile("ldm r0, {r8-r12}\n\t"
                     "push {r7, r12}\n\t"
                     "push {r10, r11}\n\t"
                     "mov r12, r8\n\t"
                     "mov lr, r9\n\t"
                     "mov r0, #0\n\t" /* r0 channels 0 and 2, r1 1 and 3, r2 4 and 6, ... */
                     "mov r1, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r3, #0\n\t"
                     "mov r4, #0\n\t"
                     "mov r5, #0\n\t"
                     "mov r6, #0\n\t"
                     "mov r7, #0\n\t"
                     "cmp r12, lr\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     "ldrh r8, [r12], #2\n\t"
                     "ldrd r9, r10, [sp]\n\t"
                     "mla r8, r8, r9, r10\n\t"
                     "ldm r8, {r8-r11}\n\t"
                     "sxtab16 r0, r0, r8\n\t"
                     "sxtab16 r1, r1, r8, ror #8\n\t"
                     "sxtab16 r2, r2, r9\n\t"
                     "sxtab16 r3, r3, r9, ror #8\n\t"
                     "sxtab16 r4, r4, r10\n\t"
                     "sxtab16 r5, r5, r10, ror #8\n\t"
                     "sxtab16 r6, r6, r11\n\t"
                     "sxtab16 r7, r7, r11, ror #8\n\t"
                     "cmp r12, lr\n\t"
                     "bne 1b\n"
                     "2:\n\t"
                     "ldr r12, [sp, #12]\n\t"
                     GNN_STORE_LANES("r0", "r1", "0", "16", "32", "48") GNN_STORE_LANES("r2", "r3", "64", "80", "96", "112")
                     GNN_STORE_LANES("r4", "r5", "128", "144", "160", "176") GNN_STORE_LANES("r6", "r7", "192", "208", "224", "240")
                     "add sp, #8\n\t"
                     "pop {r7, r12}"
                     : "+r"(at)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Accumulators from sums at r12, with the bias. */
#define GNN_SPARSE_SUMS                                                                                                                \
    "ldr r5, [r4, r8]\n\t"                                                                                                             \
    "ldmia r12!, {r0-r3}\n\t"                                                                                                          \
    "str r12, [lr, #-4]\n\t"                                                                                                           \
    "add r0, r0, r5\n\t"                                                                                                               \
    "add r1, r1, r5\n\t"                                                                                                               \
    "add r2, r2, r5\n\t"                                                                                                               \
    "add r3, r3, r5\n"

static GNN_NOINLINE uint32_t gnn_run_sums_s8(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_SPARSE_SUMS, GNN_STORE_S8) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

static GNN_NOINLINE uint32_t gnn_run_sums_s16(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_SPARSE_SUMS, GNN_STORE_S16) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

/* Up to GNN_ROWS rows; whether it could do them. */
static GNN_INLINE int gnn_linear_sparse_rows(const gnn_linear_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows,
                                             const int32_t *row_factor, gnn_type type, void *y)
{
    const gnn_requant *const requant = &layer->requant;
    const uint32_t out = layer->out, bytes = type == GNN_S8 ? 1u : 2u;
    int32_t sums[GNN_CHANNELS * GNN_ROWS];
    gnn_channels channels;
    gnn_ones ones;
    uint32_t r, c;
    if (type == GNN_S32 || out < GNN_CHANNELS || out % 4u != 0u || !requant->per_channel) {
        return 0;
    }
    for (r = 0; r < rows; ++r) {
        if (x_pointer[r + 1u] - x_pointer[r] > GNN_LANE_COUNT) {
            return 0;
        }
    }
    gnn_start_channels(&channels, requant, rows, row_factor, type, out);
    channels.bias_minus_multiplier = (uint32_t)((uintptr_t)layer->bias - (uintptr_t)requant->multiplier);
    ones.stride = out;
    for (c = 0; c < out; c += GNN_CHANNELS) {
        const uint32_t at = c + GNN_CHANNELS <= out ? c : out - GNN_CHANNELS; /* the last channels may be computed twice */
        ones.weight = (const int8_t *)layer->weight + at;
        for (r = 0; r < rows; ++r) {
            ones.index = x_index + x_pointer[r];
            ones.end = x_index + x_pointer[r + 1u];
            ones.sum = sums + r;
            gnn_sum_ones(&ones);
        }
        channels.x = sums;
        channels.multiplier = requant->multiplier + at;
        channels.shift = requant->shift + at;
        channels.y = (uint8_t *)y + at * bytes;
        channels.y_end = channels.y + GNN_CHANNELS * bytes;
        while (channels.y != channels.y_end) {
            if ((type == GNN_S8 ? gnn_run_sums_s8(&channels.multiplier) : gnn_run_sums_s16(&channels.multiplier)) != 0u) {
                gnn_store_channel(&channels, requant, (uint32_t)(channels.shift - requant->shift), rows, row_factor, type);
            }
        }
    }
    return 1;
}

#ifdef __cplusplus
}
#endif
#endif
#endif
