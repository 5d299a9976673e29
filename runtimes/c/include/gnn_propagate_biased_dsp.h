/* Codes of sums with a late bias, with the Arm DSP extension: SMLAL adds the bias to the product, the high word of which is shifted. */
#ifndef GNN_PROPAGATE_BIASED_DSP_H
#define GNN_PROPAGATE_BIASED_DSP_H

#include "gnn_lanes_dsp.h"
#include "gnn_row.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

/* What the codes of one row are made from. The assembly knows the offsets. */
typedef struct gnn_late {
    uint32_t last;          /* 0: bytes from the first four codes to the last four */
    const int64_t *bias;    /* 4 */
    int32_t base;           /* 8: what the zero point of x adds to every sum */
    uint32_t unit;          /* 12: 2^left_shift */
    int32_t multiplier;     /* 16 */
    uint32_t shift;         /* 20: s - 32 */
    uint8_t *y;             /* 24: of a row; then behind its codes */
    const uint32_t *sum;    /* 28: lanes */
    uint32_t low, high;     /* 32: of int16, twice */
} gnn_late;

/* result = the high word of bias + (base + unit lane) m; `half` is b or t. r1 bias, r2 base, r3 unit, r6 m. */
#define GNN_LATE_CODE(result, half, lanes)                                                                                             \
    "smla" half "b r11, " lanes ", r3, r2\n\t"                                                                                         \
    "ldrd r10, " result ", [r1], #8\n\t"                                                                                               \
    "smlal r10, " result ", r11, r6\n\t"

/* What a shift by more than 32 leaves to do, by r7. */
#define GNN_LATE_SHIFT                                                                                                                 \
    "asr r12, r12, r7\n\t"                                                                                                             \
    "asr lr, lr, r7\n\t"                                                                                                               \
    "asr r4, r4, r7\n\t"                                                                                                               \
    "asr r5, r5, r7\n\t"

#define GNN_LATE_SATURATE(bits)                                                                                                        \
    "ssat r12, #" bits ", r12\n\t"                                                                                                     \
    "ssat lr, #" bits ", lr\n\t"                                                                                                       \
    "ssat r4, #" bits ", r4\n\t"                                                                                                       \
    "ssat r5, #" bits ", r5\n\t"

#define GNN_LATE_STORE_S8                                                                                                              \
    GNN_LATE_SATURATE("8")                                                                                                             \
    "bfi r12, lr, #8, #8\n\t"                                                                                                          \
    "bfi r12, r4, #16, #8\n\t"                                                                                                         \
    "bfi r12, r5, #24, #8\n\t"                                                                                                         \
    "str r12, [r8], #4\n\t"

#define GNN_LATE_PAIRS                                                                                                                 \
    "pkhbt r12, r12, lr, lsl #16\n\t"                                                                                                  \
    "pkhbt r4, r4, r5, lsl #16\n\t"

#define GNN_LATE_STORE_PAIRS                                                                                                           \
    "str r12, [r8], #4\n\t" /* may be unaligned, which the processor allows */                                                         \
    "str r4, [r8], #4\n\t"

/* Codes of 8 bits as int16. */
#define GNN_LATE_STORE_NARROW GNN_LATE_SATURATE("8") GNN_LATE_PAIRS GNN_LATE_STORE_PAIRS

/* Any bounds of 16 bits: the maximum with low and the minimum with high of two codes at a time. */
#define GNN_LATE_STORE_WIDE                                                                                                            \
    GNN_LATE_SATURATE("16")                                                                                                            \
    GNN_LATE_PAIRS                                                                                                                     \
    "ldr r5, [sp]\n\t"                                                                                                                 \
    "ldrd r10, r11, [r5, #32]\n\t"                                                                                                     \
    "ssub16 lr, r12, r10\n\t"                                                                                                          \
    "sel r12, r12, r10\n\t"                                                                                                            \
    "ssub16 lr, r4, r10\n\t"                                                                                                           \
    "sel r4, r4, r10\n\t"                                                                                                              \
    "ssub16 lr, r11, r12\n\t"                                                                                                          \
    "sel r12, r12, r11\n\t"                                                                                                            \
    "ssub16 lr, r11, r4\n\t"                                                                                                           \
    "sel r4, r4, r11\n\t"                                                                                                              \
    GNN_LATE_STORE_PAIRS

/* Codes of 16 bits without ReLU: only -32768 is not one of them. */
#define GNN_LATE_STORE_FULL                                                                                                            \
    GNN_LATE_SATURATE("16")                                                                                                            \
    GNN_LATE_PAIRS                                                                                                                     \
    "ldr r5, [sp]\n\t"                                                                                                                 \
    "ldr r10, [r5, #32]\n\t"                                                                                                           \
    "ssub16 lr, r12, r10\n\t"                                                                                                          \
    "sel r12, r12, r10\n\t"                                                                                                            \
    "ssub16 lr, r4, r10\n\t"                                                                                                           \
    "sel r4, r4, r10\n\t"                                                                                                              \
    GNN_LATE_STORE_PAIRS

/* Four codes at a time, `four` bytes of y; the last four may overlap those before. 2^ratio bytes of bias belong to one of y. */
#define GNN_LATE_LOOP(shift, store, four, ratio)                                                                                              \
    "push {r0, r7}\n\t"                                                                                                                \
    "ldm r0, {r0-r3, r6-r9}\n\t"                                                                                                       \
    "add r0, r0, r8\n"                                                                                                                 \
    "1:\n\t"                                                                                                                           \
    "ldmia r9!, {r4, r5}\n\t"                                                                                                          \
    GNN_LATE_CODE("r12", "b", "r4")                                                                                                    \
    GNN_LATE_CODE("lr", "b", "r5")                                                                                                     \
    GNN_LATE_CODE("r4", "t", "r4")                                                                                                     \
    GNN_LATE_CODE("r5", "t", "r5")                                                                                                     \
    shift                                                                                                                              \
    store                                                                                                                              \
    "subs r12, r0, r8\n\t"                                                                                                             \
    "bge 1b\n\t"                                                                                                                       \
    "cmn r12, #" four "\n\t"                                                                                                           \
    "beq 2f\n\t"                                                                                                                       \
    "add r8, r8, r12\n\t"                                                                                                              \
    "add r1, r1, r12, lsl #" ratio "\n\t"                                                                                              \
    "b 1b\n"                                                                                                                           \
    "2:\n\t"                                                                                                                           \
    "pop {r0, r7}\n\t"                                                                                                                 \
    "str r8, [r0, #24]"

#define GNN_LATE_FUNCTION(name, shift, store, four, ratio)                                                                             \
    static GNN_NOINLINE void name(const gnn_late *late)                                                                                \
    {                                                                                                                                  \
        register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)late;                                                                \
        __asm__ volatile(GNN_LATE_LOOP(shift, store, four, ratio)                                                                      \
                         : "+r"(at)                                                                                                    \
                         :                                                                                                             \
                         : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");                 \
    }

GNN_LATE_FUNCTION(gnn_late_s8, "", GNN_LATE_STORE_S8, "4", "3")
GNN_LATE_FUNCTION(gnn_late_s8_shifted, GNN_LATE_SHIFT, GNN_LATE_STORE_S8, "4", "3")
GNN_LATE_FUNCTION(gnn_late_narrow, "", GNN_LATE_STORE_NARROW, "8", "2")
GNN_LATE_FUNCTION(gnn_late_narrow_shifted, GNN_LATE_SHIFT, GNN_LATE_STORE_NARROW, "8", "2")
GNN_LATE_FUNCTION(gnn_late_full, "", GNN_LATE_STORE_FULL, "8", "2")
GNN_LATE_FUNCTION(gnn_late_wide, GNN_LATE_SHIFT, GNN_LATE_STORE_WIDE, "8", "2")

/* The loop for the codes of an op. */
static GNN_INLINE void (*gnn_late_loop(const gnn_requant *requant, gnn_type y_type))(const gnn_late *)
{
    const int is_shifted = requant->shift[0] != 32u;
    if (y_type == GNN_S8) {
        return is_shifted ? gnn_late_s8_shifted : gnn_late_s8;
    }
    if (requant->low == -128 && requant->high == 127) {
        return is_shifted ? gnn_late_narrow_shifted : gnn_late_narrow;
    }
    return is_shifted || requant->high != INT16_MAX ? gnn_late_wide : gnn_late_full;
}

/* Whether gnn_late_rows can do an op with int8 x. */
static GNN_INLINE int gnn_is_late(const gnn_propagate_op *op, gnn_type y_type)
{
    const gnn_requant *const requant = &op->requant;
    return gnn_is_sum(op) && op->channels >= 4u && op->self_scale == 0 && op->self_shift == 0u && requant->zero_point == 0 &&
           requant->shift[0] >= 32u && requant->left_shift <= 14u && (y_type != GNN_S8 || requant->high - requant->low == 255);
}

/* Rows of at most GNN_LANE_COUNT in-edges; returns how many of them it did before one that has more. */
static GNN_INLINE uint32_t gnn_late_rows(const gnn_propagate_op *op, const gnn_topology *topology, const int8_t *x, uint32_t first,
                                         uint32_t rows, uint8_t *y, gnn_type y_type, uint32_t y_stride)
{
    const uint32_t channels = op->channels, bytes = y_type == GNN_S8 ? 1u : 2u, y_bytes = y_stride * bytes;
    const int32_t multiplier = op->requant.multiplier[0];
    const uint32_t *const pointers = topology->row_pointer + first, *const end = pointers + gnn_short_rows(pointers, rows);
    const uint16_t *const source = topology->source;
    const uint32_t is_mean = op->factor == GNN_FACTOR_MEAN;
    void (*const codes)(const gnn_late *) = gnn_late_loop(&op->requant, y_type);
    uint32_t c;
    int32_t base;
    gnn_lanes lanes;
    gnn_late late;
    late.unit = (uint32_t)1 << op->requant.left_shift;
    late.shift = (uint32_t)op->requant.shift[0] - 32u; /* up to 30 */
    late.low = gnn_both_halves(op->requant.low);
    late.high = gnn_both_halves(op->requant.high);
    late.sum = lanes.sum;
    base = (int32_t)(0u - late.unit * (uint32_t)op->zero_point);
    for (c = 0; c < channels; c = lanes.first + lanes.count) {
        const uint32_t *pointer = pointers;
        const int32_t *row_factor = op->factor == GNN_FACTOR_NORMALIZATION ? topology->row_factor + first : NULL;
        uint32_t gap;
        gnn_place_lanes(&lanes, x, channels, c);
        late.bias = op->bias + lanes.first;
        late.multiplier = multiplier;
        late.y = y + lanes.first * bytes;
        late.last = (lanes.count - 4u) * bytes;
        gap = y_bytes - lanes.count * bytes;
        lanes.index = source + *pointer;
        while (pointer != end) {
            int32_t count;
            lanes.end = source + *++pointer;
            count = (int32_t)(lanes.end - lanes.index);
            late.base = count * base;
            if (row_factor != NULL) {
                late.multiplier = gnn_srdhm(multiplier, *row_factor++);
            } else if (is_mean) {
                late.multiplier = gnn_srdhm(multiplier, gnn_mean_factor((uint32_t)count));
            }
            lanes.add(&lanes);
            codes(&late);
            late.y += gap;
        }
    }
    return (uint32_t)(end - pointers);
}

#ifdef __cplusplus
}
#endif
#endif
#endif
