/* Linear on sparse binary features with the Arm DSP extension: rows of weights are summed like rows of neighbours, then requantized. */
#ifndef GNN_LINEAR_SPARSE_DSP_H
#define GNN_LINEAR_SPARSE_DSP_H

#include "gnn_lanes_dsp.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

/* What the codes of one row are made from. The assembly knows the offsets. */
typedef struct gnn_ones {
    const uint32_t *sum;              /* 0: lanes */
    const gnn_ready_channel *channel; /* 4 */
    int32_t factor;                   /* 8: 2 R modulo 2^32 */
    uint8_t *y;                       /* 12: of a row; then behind its codes */
    uint32_t last;                    /* 16: bytes from the first four codes to the last four */
    uint32_t unit;                    /* 20: 2^left_shift */
    uint32_t low, high;               /* 24: of int16, twice */
} gnn_ones;

/* m = srdhm(m, R) with 2 R in r2, as it is and with 2^32 missing from it. */
#define GNN_FACTOR_SMALL "smmulr r7, r7, r2\n\t"
#define GNN_FACTOR_LARGE "smmlar r7, r7, r2, r7\n\t"

/* result = (rounding + high((bias + unit lane) m)) >> shift; `half` is b or t. r1 channels, lr unit. */
#define GNN_ONES_CODE(result, half, lanes, factor)                                                                                     \
    "ldmia r1!, {r6-r9}\n\t"                                                                                                           \
    "smla" half "b r6, " lanes ", lr, r6\n\t"                                                                                          \
    factor                                                                                                                             \
    "smmla r6, r6, r7, r8\n\t"                                                                                                         \
    "asr " result ", r6, r9\n\t"

#define GNN_ONES_SATURATE(bits)                                                                                                        \
    "ssat r10, #" bits ", r10\n\t"                                                                                                     \
    "ssat r11, #" bits ", r11\n\t"                                                                                                     \
    "ssat r4, #" bits ", r4\n\t"                                                                                                       \
    "ssat r5, #" bits ", r5\n\t"

#define GNN_ONES_STORE_S8                                                                                                              \
    GNN_ONES_SATURATE("8")                                                                                                             \
    "bfi r10, r11, #8, #8\n\t"                                                                                                         \
    "bfi r10, r4, #16, #8\n\t"                                                                                                         \
    "bfi r10, r5, #24, #8\n\t"                                                                                                         \
    "str r10, [r3], #4\n\t" /* may be unaligned, which the processor allows */

#define GNN_ONES_STORE_S16                                                                                                             \
    GNN_ONES_SATURATE("16")                                                                                                            \
    "pkhbt r10, r10, r11, lsl #16\n\t"                                                                                                 \
    "pkhbt r4, r4, r5, lsl #16\n\t"                                                                                                    \
    "ldr r5, [sp]\n\t"                                                                                                                 \
    "ldrd r6, r7, [r5, #24]\n\t"                                                                                                       \
    "ssub16 r8, r10, r6\n\t"                                                                                                           \
    "sel r10, r10, r6\n\t"                                                                                                             \
    "ssub16 r8, r4, r6\n\t"                                                                                                            \
    "sel r4, r4, r6\n\t"                                                                                                               \
    "ssub16 r8, r7, r10\n\t"                                                                                                           \
    "sel r10, r10, r7\n\t"                                                                                                             \
    "ssub16 r8, r7, r4\n\t"                                                                                                            \
    "sel r4, r4, r7\n\t"                                                                                                               \
    "str r10, [r3], #4\n\t"                                                                                                            \
    "str r4, [r3], #4\n\t"

/* Four codes at a time, `four` bytes of y; the last four may overlap those before. 2^ratio bytes of channels belong to one of y. */
#define GNN_ONES_LOOP(factor, store, four, ratio)                                                                                      \
    "push {r0, r7}\n\t"                                                                                                                \
    "ldm r0, {r0-r3, r12, lr}\n\t"                                                                                                     \
    "add r12, r12, r3\n"                                                                                                               \
    "1:\n\t"                                                                                                                           \
    "ldmia r0!, {r4, r5}\n\t"                                                                                                          \
    GNN_ONES_CODE("r10", "b", "r4", factor)                                                                                            \
    GNN_ONES_CODE("r11", "b", "r5", factor)                                                                                            \
    GNN_ONES_CODE("r4", "t", "r4", factor)                                                                                             \
    GNN_ONES_CODE("r5", "t", "r5", factor)                                                                                             \
    store                                                                                                                              \
    "subs r6, r12, r3\n\t"                                                                                                             \
    "bge 1b\n\t"                                                                                                                       \
    "cmn r6, #" four "\n\t"                                                                                                            \
    "beq 2f\n\t"                                                                                                                       \
    "add r3, r3, r6\n\t"                                                                                                               \
    "add r1, r1, r6, lsl #" ratio "\n\t"                                                                                               \
    "b 1b\n"                                                                                                                           \
    "2:\n\t"                                                                                                                           \
    "pop {r0, r7}\n\t"                                                                                                                 \
    "str r3, [r0, #12]"

#define GNN_ONES_FUNCTION(name, factor, store, four, ratio)                                                                            \
    static GNN_NOINLINE void name(const gnn_ones *ones)                                                                                \
    {                                                                                                                                  \
        register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)ones;                                                                \
        __asm__ volatile(GNN_ONES_LOOP(factor, store, four, ratio)                                                                     \
                         : "+r"(at)                                                                                                    \
                         :                                                                                                             \
                         : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");                 \
    }

GNN_ONES_FUNCTION(gnn_ones_s8, "", GNN_ONES_STORE_S8, "4", "4")
GNN_ONES_FUNCTION(gnn_ones_s8_small, GNN_FACTOR_SMALL, GNN_ONES_STORE_S8, "4", "4")
GNN_ONES_FUNCTION(gnn_ones_s8_large, GNN_FACTOR_LARGE, GNN_ONES_STORE_S8, "4", "4")
GNN_ONES_FUNCTION(gnn_ones_s16, "", GNN_ONES_STORE_S16, "8", "3")
GNN_ONES_FUNCTION(gnn_ones_s16_small, GNN_FACTOR_SMALL, GNN_ONES_STORE_S16, "8", "3")
GNN_ONES_FUNCTION(gnn_ones_s16_large, GNN_FACTOR_LARGE, GNN_ONES_STORE_S16, "8", "3")

/* Whether gnn_ones_rows can do a layer. */
static GNN_INLINE int gnn_is_ready(const gnn_linear_sparse_layer *layer, gnn_type type)
{
    const gnn_requant *const requant = &layer->requant;
    return layer->ready != NULL && layer->out >= 4u && requant->left_shift <= 14u && (type != GNN_S8 || requant->high - requant->low == 255);
}

/* Rows of at most GNN_LANE_COUNT ones; returns how many of them it did before one that has more. */
static GNN_INLINE uint32_t gnn_ones_rows(const gnn_linear_sparse_layer *layer, const uint32_t *x_pointer, const uint16_t *x_index, uint32_t rows,
                                         const int32_t *row_factor, gnn_type type, uint8_t *y)
{
    const uint32_t out = layer->out, bytes = type == GNN_S8 ? 1u : 2u, y_bytes = out * bytes;
    const uint32_t *const end = x_pointer + gnn_short_rows(x_pointer, rows);
    uint32_t c;
    gnn_lanes lanes;
    gnn_ones ones;
    ones.sum = lanes.sum;
    ones.unit = (uint32_t)1 << layer->requant.left_shift;
    ones.low = gnn_both_halves(layer->requant.low);
    ones.high = gnn_both_halves(layer->requant.high);
    for (c = 0; c < out; c = lanes.first + lanes.count) {
        const uint32_t *pointer = x_pointer;
        const int32_t *factor = row_factor;
        uint32_t gap;
        gnn_place_lanes(&lanes, layer->weight, out, c);
        ones.channel = layer->ready + lanes.first;
        ones.y = y + lanes.first * bytes;
        ones.last = (lanes.count - 4u) * bytes;
        gap = y_bytes - lanes.count * bytes;
        lanes.index = x_index + *pointer;
        while (pointer != end) {
            lanes.end = x_index + *++pointer;
            lanes.add(&lanes);
            if (factor == NULL) {
                (type == GNN_S8 ? gnn_ones_s8 : gnn_ones_s16)(&ones);
            } else {
                ones.factor = (int32_t)((uint32_t)*factor++ * 2u);
                if (ones.factor < 0) {
                    (type == GNN_S8 ? gnn_ones_s8_large : gnn_ones_s16_large)(&ones);
                } else {
                    (type == GNN_S8 ? gnn_ones_s8_small : gnn_ones_s16_small)(&ones);
                }
            }
            ones.y += gap;
        }
    }
    return (uint32_t)(end - x_pointer);
}

#ifdef __cplusplus
}
#endif
#endif
#endif
