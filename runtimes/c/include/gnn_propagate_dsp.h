/* Sums of int8 rows with the Arm DSP extension: SXTAB16 adds two channels at once into lanes of 16 bits, which hold 255 codes. */
#ifndef GNN_PROPAGATE_DSP_H
#define GNN_PROPAGATE_DSP_H

#include "gnn_row.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

/* What joins the sums of a row. */
enum { GNN_SUM_ALONE = 0, GNN_SUM_AND_SELF = 1 };

/* What the loop over the columns of one row works on. The assembly knows the offsets, stated from `x` on. */
typedef struct gnn_words {
    int32_t multiplier;    /* -24 */
    int32_t rounding;      /* -20: with the zero point of y */
    uint32_t shift;        /* -16: s - 32, at least 1 */
    int32_t base;          /* -12: what the zero point of x adds to every sum */
    uint32_t unit;         /* -8: what a sum is multiplied by */
    int32_t kind;          /* -4: GNN_SUM_... */
    const int8_t *x;       /* 0: first row, at the current columns; advances */
    uint32_t stride;       /* 4 */
    const uint16_t *index; /* 8 */
    const uint16_t *end;   /* 12 */
    uint32_t second;       /* 16: from the first four columns to the second four: 4, or less where there are not 8 */
    uint32_t second_y;     /* 20: the same in bytes of y */
    uint8_t *y;            /* 24: advances */
    const int8_t *x_end;   /* 28 */
    int32_t self_scale;    /* 32: times 2^left_shift */
    uint32_t self;         /* 36: bytes from x to the node's own row */
    uint32_t low, high;    /* 40: of int16, twice */
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
    "ldrd r10, r1, [lr, #40]\n\t"                                                                                                      \
    "ssub16 r6, r9, r10\n\t"                                                                                                           \
    "sel r9, r9, r10\n\t"                                                                                                              \
    "ssub16 r6, r0, r10\n\t"                                                                                                           \
    "sel r0, r0, r10\n\t"                                                                                                              \
    "ssub16 r6, r1, r9\n\t"                                                                                                            \
    "sel r9, r9, r1\n\t"                                                                                                               \
    "ssub16 r6, r1, r0\n\t"                                                                                                            \
    "sel r0, r0, r1\n\t"                                                                                                               \
    "str r9, [r12]\n\t" /* these two may be unaligned, which the processor allows */                                                   \
    "str r0, [r12, #4]\n\t"

#if GNN_USES_SELF
#define GNN_IF_SELF "cmp r9, #0\n\tbgt 6f\n\t"
#define GNN_SELF_TERM                                                                                                                  \
    "6:\n\t" /* a self term: T += self_scale * own code */                                                                             \
    "ldr r9, [lr]\n\t"                                                                                                                 \
    "ldrd r4, r10, [lr, #32]\n\t"                                                                                                      \
    "add r9, r9, r10\n\t"                                                                                                              \
    "cmp r11, #0\n\t"                                                                                                                  \
    "it eq\n\t"                                                                                                                        \
    "ldreq r10, [lr, #16]\n\t"                                                                                                         \
    "it eq\n\t"                                                                                                                        \
    "addeq r9, r9, r10\n\t"                                                                                                            \
    "ldrsb r10, [r9, #1]\n\t"                                                                                                          \
    "ldrsb r5, [r9, #2]\n\t"                                                                                                           \
    "ldrsb r6, [r9, #3]\n\t"                                                                                                           \
    "ldrsb r9, [r9]\n\t"                                                                                                               \
    "mla r9, r4, r9, r7\n\t"                                                                                                           \
    "mla r10, r4, r10, r7\n\t"                                                                                                         \
    "mla r5, r4, r5, r7\n\t"                                                                                                           \
    "mla r6, r4, r6, r7\n\t"                                                                                                           \
    "smlabb r9, r0, r8, r9\n\t"                                                                                                        \
    "smlabb r10, r1, r8, r10\n\t"                                                                                                      \
    "smlatb r0, r0, r8, r5\n\t"                                                                                                        \
    "smlatb r1, r1, r8, r6\n\t"                                                                                                        \
    "ldr r4, [lr, #-24]\n\t"                                                                                                           \
    "ldrd r5, r6, [lr, #-20]\n\t"                                                                                                      \
    "b 4b\n"
#else
#define GNN_IF_SELF
#define GNN_SELF_TERM
#endif

/* Columns from x to x_end, eight at a time; `four` codes of y have so many bytes. */
#define GNN_WORD_LOOP(store, four)                                                                                                     \
    "push {r0, r7}\n\t"                                                                                                                \
    "mov lr, r0\n"                                                                                                                     \
    "1:\n\t"                                                                                                                           \
    "ldmia lr, {r4-r8, r11, r12}\n\t"                                                                                                  \
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
    "ldmdb lr, {r4-r9}\n\t"                                                                                                            \
    GNN_IF_SELF                                                                                                                        \
    "smlabb r9, r0, r8, r7\n\t"                                                                                                        \
    "smlabb r10, r1, r8, r7\n\t"                                                                                                       \
    "smlatb r0, r0, r8, r7\n\t"                                                                                                        \
    "smlatb r1, r1, r8, r7\n"                                                                                                          \
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
    "cmp r11, #0\n\t"                                                                                                                  \
    "beq 9f\n\t"                                                                                                                       \
    "add r12, r12, r11\n\t" /* the second four */                                                                                      \
    "mov r11, #0\n\t"                                                                                                                  \
    "mov r0, r2\n\t"                                                                                                                   \
    "mov r1, r3\n\t"                                                                                                                   \
    "b 3b\n"                                                                                                                           \
    GNN_SELF_TERM                                                                                                                      \
    "9:\n\t" /* the next eight */                                                                                                      \
    "ldr r4, [lr]\n\t"                                                                                                                 \
    "ldr r5, [lr, #28]\n\t"                                                                                                            \
    "add r12, r12, #" four "\n\t"                                                                                                      \
    "add r4, r4, #8\n\t"                                                                                                               \
    "str r12, [lr, #24]\n\t"                                                                                                           \
    "str r4, [lr]\n\t"                                                                                                                 \
    "cmp r4, r5\n\t"                                                                                                                   \
    "blo 1b\n\t"                                                                                                                       \
    "pop {r0, r7}\n\t"

/* Runs the columns from x to x_end. Takes the address of `x` in gnn_words. */
static GNN_NOINLINE void gnn_run_words_s8(const int8_t **x)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)x;
    __asm__ volatile(GNN_WORD_LOOP(GNN_STORE_WORDS_S8, "4")
                     : "+r"(at)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

static GNN_NOINLINE void gnn_run_words_s16(const int8_t **x)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)x;
    __asm__ volatile(GNN_WORD_LOOP(GNN_STORE_WORDS_S16, "8")
                     : "+r"(at)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Prepares what all rows of a block have in common; whether gnn_sum_words can do them. The others are left to C.
 *
 * A shift below 33 is raised to it by multiplying sums, which have 16 bits at most unless there is a self term. */
static GNN_INLINE int gnn_start_words(gnn_words *words, const gnn_propagate_op *op, gnn_type y_type)
{
    const gnn_requant *const requant = &op->requant;
    const uint32_t channels = op->channels, s = requant->shift[0], lift = GNN_USES_RARE && s < GNN_HIGH_SHIFT ? GNN_HIGH_SHIFT - s : 0u;
    const uint32_t unit_bits = (GNN_USES_SELF ? op->self_shift : 0u) + requant->left_shift + lift;
    words->shift = s + lift - 32u;
    words->rounding = (int32_t)((uint32_t)(2 * requant->zero_point + 1) << (words->shift - 1u));
    words->unit = 1u << unit_bits;
    words->kind = GNN_USES_SELF && op->self_scale != 0 ? GNN_SUM_AND_SELF : GNN_SUM_ALONE;
    words->stride = channels;
    words->second = GNN_USES_RARE && channels < 8u ? channels - 4u : 4u;
    words->second_y = y_type == GNN_S8 ? words->second : words->second * 2u;
    words->self_scale = GNN_USES_SELF ? (int32_t)((uint32_t)op->self_scale << requant->left_shift) : 0;
    words->low = gnn_both_halves(requant->low);
    words->high = gnn_both_halves(requant->high);
    return !GNN_USES_RARE ||
           (gnn_is_sum(op) && channels >= 4u && unit_bits <= 12u && words->shift <= GNN_ROUNDING_LIMIT &&
            (uint32_t)(requant->zero_point + 128) <= 255u && (y_type != GNN_S8 || requant->high - requant->low == 255) &&
            (op->self_scale == 0 || lift == 0u));
}

/* One row of y. */
static GNN_INLINE void gnn_sum_words(gnn_words *words, const gnn_propagate_op *op, const gnn_row *row, const int8_t *x, uint32_t node, void *y,
                                     gnn_type y_type)
{
    const uint32_t channels = op->channels;
    const int32_t m = op->requant.multiplier[0];
    words->multiplier = row->factor < 0 ? m : gnn_srdhm(m, row->factor);
    words->base = (int32_t)(0u - (row->count * words->unit + (uint32_t)words->self_scale) * (uint32_t)op->zero_point);
    words->x = x;
    words->x_end = x + (channels & ~7u);
    words->self = node * channels;
    words->index = row->index;
    words->end = row->index + row->count;
    words->y = (uint8_t *)y;
    for (;;) {
        const uint32_t done = channels - 8u;
        if (y_type == GNN_S8) {
            gnn_run_words_s8(&words->x);
        } else {
            gnn_run_words_s16(&words->x);
        }
        if (!GNN_USES_RARE || channels < 8u || words->x_end == x + channels) {
            break;
        }
        words->x_end = x + channels; /* the columns that are left, together with some that are done */
        words->x = x + done;
        words->y = (uint8_t *)y + (y_type == GNN_S8 ? done : done * 2u);
    }
}

#ifdef __cplusplus
}
#endif
#endif
#endif
