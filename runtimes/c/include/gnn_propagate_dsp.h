/* Sums of int8 rows with the Arm DSP extension: SXTAB16 adds two channels at once into lanes of 16 bits, which hold 255 codes. */
#ifndef GNN_PROPAGATE_DSP_H
#define GNN_PROPAGATE_DSP_H

#include "gnn_requantize.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_LANE_COUNT 255u /* codes whose sum fits a lane, all of them -128 */
#define GNN_MULTIPLIER_BITS 14u /* SMLABB multiplies a lane by at most 2^14 */

/* What the loop over the columns of one row works on. The assembly knows the offsets, stated from `x` on. */
typedef struct gnn_words {
    int32_t multiplier;    /* -20 */
    int32_t rounding;      /* -16: with the zero point of y */
    uint32_t shift;        /* -12 */
    int32_t base;          /* -8: what the zero point of x adds to every sum */
    int32_t self_scale;    /* -4 */
    const int8_t *x;       /* 0: first row, at the current columns; advances */
    uint32_t stride;       /* 4 */
    const uint16_t *index; /* 8 */
    const uint16_t *end;   /* 12 */
    uint32_t second;       /* 16: from the first four columns to the second four: 4, or less where there are not 8 */
    uint8_t *y;            /* 20: advances */
    const int8_t *x_end;   /* 24 */
    const int8_t *self;    /* 28: the node's own row, at the current columns; advances */
    uint32_t unit;         /* 32: 2^self_shift */
    uint32_t low, high;    /* 36: of int16, twice */
} gnn_words;

/* Codes of the four sums r9, r10, r0, r1 at y = r12. */
#define GNN_STORE_WORDS_S8                                                                                                             \
    "ssat r9, #8, r9\n\t"                                                                                                              \
    "ssat r10, #8, r10\n\t"                                                                                                            \
    "ssat r0, #8, r0\n\t"                                                                                                              \
    "ssat r1, #8, r1\n\t"                                                                                                              \
    "strb r9, [r12]\n\t"                                                                                                               \
    "strb r10, [r12, #1]\n\t"                                                                                                          \
    "strb r0, [r12, #2]\n\t"                                                                                                           \
    "strb r1, [r12, #3]\n\t"

#define GNN_STORE_WORDS_S16                                                                                                            \
    "ssat r9, #16, r9\n\t"                                                                                                             \
    "ssat r10, #16, r10\n\t"                                                                                                           \
    "ssat r0, #16, r0\n\t"                                                                                                             \
    "ssat r1, #16, r1\n\t"                                                                                                             \
    "pkhbt r9, r9, r10, lsl #16\n\t"                                                                                                   \
    "pkhbt r0, r0, r1, lsl #16\n\t"                                                                                                    \
    "ldrd r10, r1, [lr, #36]\n\t"                                                                                                      \
    "ssub16 r11, r9, r10\n\t"                                                                                                          \
    "sel r9, r9, r10\n\t"                                                                                                              \
    "ssub16 r11, r0, r10\n\t"                                                                                                          \
    "sel r0, r0, r10\n\t"                                                                                                              \
    "ssub16 r11, r1, r9\n\t"                                                                                                           \
    "sel r9, r9, r1\n\t"                                                                                                               \
    "ssub16 r11, r1, r0\n\t"                                                                                                           \
    "sel r0, r0, r1\n\t"                                                                                                               \
    "str r9, [r12]\n\t" /* these two may be unaligned, which the processor allows */                                                   \
    "str r0, [r12, #4]\n\t"

/* Columns from x to x_end, eight at a time. `size` is that of a code of y. */
#define GNN_WORD_LOOP(store, size_shift, four)                                                                                         \
    "push {r0, r7}\n\t"                                                                                                                \
    "mov lr, r0\n"                                                                                                                     \
    "1:\n\t"                                                                                                                           \
    "ldmia lr, {r4-r8, r12}\n\t"                                                                                                       \
    "mov r0, #0\n\t" /* r0 columns 0 and 2, r1 1 and 3, r2 4 and 6, r3 5 and 7 */                                                      \
    "mov r1, #0\n\t"                                                                                                                   \
    "mov r2, #0\n\t"                                                                                                                   \
    "mov r3, #0\n\t"                                                                                                                   \
    "cmp r6, r7\n\t"                                                                                                                   \
    "beq 3f\n"                                                                                                                         \
    "2:\n\t" /* edges */                                                                                                               \
    "ldrh r9, [r6], #2\n\t"                                                                                                            \
    "mla r9, r9, r5, r4\n\t"                                                                                                           \
    "ldr r10, [r9]\n\t"                                                                                                                \
    "ldr r9, [r9, r8]\n\t"                                                                                                             \
    "sxtab16 r0, r0, r10\n\t"                                                                                                          \
    "sxtab16 r1, r1, r10, ror #8\n\t"                                                                                                  \
    "sxtab16 r2, r2, r9\n\t"                                                                                                           \
    "sxtab16 r3, r3, r9, ror #8\n\t"                                                                                                   \
    "cmp r6, r7\n\t"                                                                                                                   \
    "bne 2b\n"                                                                                                                         \
    "3:\n\t" /* four columns of r0 and r1 */                                                                                           \
    "ldmdb lr, {r4-r8}\n\t"                                                                                                            \
    "cmp r8, #0\n\t"                                                                                                                   \
    "bne 6f\n\t"                                                                                                                       \
    "sxtah r9, r7, r0\n\t"                                                                                                             \
    "sxtah r10, r7, r1\n\t"                                                                                                            \
    "sxtah r0, r7, r0, ror #16\n\t"                                                                                                    \
    "sxtah r1, r7, r1, ror #16\n"                                                                                                      \
    "4:\n\t"                                                                                                                           \
    "smmla r9, r9, r4, r5\n\t"                                                                                                         \
    "smmla r10, r10, r4, r5\n\t"                                                                                                       \
    "smmla r0, r0, r4, r5\n\t"                                                                                                         \
    "smmla r1, r1, r4, r5\n\t"                                                                                                         \
    "asr r9, r9, r6\n\t"                                                                                                               \
    "asr r10, r10, r6\n\t"                                                                                                             \
    "asr r0, r0, r6\n\t"                                                                                                               \
    "asr r1, r1, r6\n\t"                                                                                                               \
    store                                                                                                                              \
    "ldrd r10, r11, [lr, #16]\n\t" /* where the second four are stored */                                                              \
    "add r11, r11, r10, lsl #" size_shift "\n\t"                                                                                       \
    "cmp r12, r11\n\t"                                                                                                                 \
    "beq 5f\n\t"                                                                                                                       \
    "mov r12, r11\n\t"                                                                                                                 \
    "mov r0, r2\n\t"                                                                                                                   \
    "mov r1, r3\n\t"                                                                                                                   \
    "b 3b\n"                                                                                                                           \
    "5:\n\t" /* the next eight */                                                                                                      \
    "add r12, r12, #" four "\n\t"                                                                                                      \
    "str r12, [lr, #20]\n\t"                                                                                                           \
    "ldr r4, [lr]\n\t"                                                                                                                 \
    "ldrd r5, r6, [lr, #24]\n\t"                                                                                                       \
    "add r4, r4, #8\n\t"                                                                                                               \
    "add r6, r6, #8\n\t"                                                                                                               \
    "str r4, [lr]\n\t"                                                                                                                 \
    "str r6, [lr, #28]\n\t"                                                                                                            \
    "cmp r4, r5\n\t"                                                                                                                   \
    "blo 1b\n\t"                                                                                                                       \
    "b 7f\n"                                                                                                                           \
    "6:\n\t" /* sum * 2^self_shift + self_scale * own code + base */                                                                   \
    "ldr r9, [lr, #20]\n\t"                                                                                                            \
    "ldrd r11, r4, [lr, #28]\n\t"                                                                                                      \
    "sub r9, r12, r9\n\t"                                                                                                              \
    "add r11, r11, r9, lsr #" size_shift "\n\t"                                                                                        \
    "ldrsb r9, [r11]\n\t"                                                                                                              \
    "ldrsb r10, [r11, #1]\n\t"                                                                                                         \
    "ldrsb r5, [r11, #2]\n\t"                                                                                                          \
    "ldrsb r6, [r11, #3]\n\t"                                                                                                          \
    "mla r9, r8, r9, r7\n\t"                                                                                                           \
    "mla r10, r8, r10, r7\n\t"                                                                                                         \
    "mla r5, r8, r5, r7\n\t"                                                                                                           \
    "mla r6, r8, r6, r7\n\t"                                                                                                           \
    "smlabb r9, r0, r4, r9\n\t"                                                                                                        \
    "smlabb r10, r1, r4, r10\n\t"                                                                                                      \
    "smlatb r0, r0, r4, r5\n\t"                                                                                                        \
    "smlatb r1, r1, r4, r6\n\t"                                                                                                        \
    "ldmdb lr, {r4-r8}\n\t"                                                                                                            \
    "b 4b\n"                                                                                                                           \
    "7:\n\t"                                                                                                                           \
    "pop {r0, r7}\n\t"

/* Whether gnn_sum_words can do a row; the others are left to C. */
static GNN_INLINE int gnn_can_sum_words(const gnn_propagate_op *op, const gnn_scale *scale, uint32_t count, gnn_type y_type)
{
    return (op->reduce == GNN_SUM || op->reduce == GNN_MEAN) && op->bias == NULL && op->channels >= 4u && count <= GNN_LANE_COUNT &&
           op->self_shift <= GNN_MULTIPLIER_BITS && scale->lift == 0u && scale->shift <= GNN_ROUNDING_LIMIT &&
           (uint32_t)(scale->zero_point + 128) <= 255u && (y_type != GNN_S8 || (scale->high == 127 && scale->low == -128));
}

/* One row of y. */
static GNN_INLINE void gnn_sum_words(const gnn_propagate_op *op, const gnn_scale *scale, const uint16_t *index, uint32_t count, const int8_t *x,
                                     uint32_t node, void *y, gnn_type y_type)
{
    const uint32_t channels = op->channels, whole = channels & ~7u, bytes = y_type == GNN_S8 ? 1u : 2u;
    uint32_t at = 0, next = whole;
    gnn_words words;
    words.multiplier = scale->multiplier;
    words.rounding = scale->rounding * (2 * scale->zero_point + 1);
    words.shift = scale->shift;
    words.base = (int32_t)(0u - ((count << op->self_shift) + (uint32_t)op->self_scale) * (uint32_t)op->zero_point);
    words.self_scale = op->self_scale;
    words.stride = channels;
    words.index = index;
    words.end = index + count;
    words.second = whole != 0u ? 4u : channels - 4u;
    words.unit = 1u << op->self_shift;
    words.low = gnn_both_halves(scale->low);
    words.high = gnn_both_halves(scale->high);
    do {
        words.x = x + at;
        words.x_end = x + next;
        words.self = x + (size_t)node * channels + at;
        words.y = (uint8_t *)y + at * bytes;
        {
            register uint32_t r0 __asm__("r0") = (uint32_t)(uintptr_t)&words.x;
#define GNN_CLOBBERED "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"
            if (y_type == GNN_S8) {
                __asm__ volatile(GNN_WORD_LOOP(GNN_STORE_WORDS_S8, "0", "4") : "+r"(r0) : : GNN_CLOBBERED);
            } else {
                __asm__ volatile(GNN_WORD_LOOP(GNN_STORE_WORDS_S16, "1", "8") : "+r"(r0) : : GNN_CLOBBERED);
            }
#undef GNN_CLOBBERED
        }
        at = channels - 8u; /* what is left overlaps what is done */
        next = channels;
    } while (whole != 0u && words.x_end != x + channels);
}

#ifdef __cplusplus
}
#endif
#endif
