/* One row of a Linear with sixteen inputs, with the Arm DSP extension: the row stays in eight registers. */
#ifndef GNN_LINEAR_NARROW_DSP_H
#define GNN_LINEAR_NARROW_DSP_H

#include "gnn_requantize.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

/* What the codes of one row are made from. The assembly loads it as a whole. */
typedef struct gnn_narrow {
    const int16_t *x;
    int8_t *y;
    const int8_t *y_end;
    int32_t factor; /* 2 R modulo 2^32 */
    const gnn_narrow_channel *channel;
} gnn_narrow;

/* m = srdhm(m, R) with 2 R in r11, as it is and with 2^32 missing from it. */
#define GNN_NARROW_SMALL "smmulr r8, r8, r11\n\t"
#define GNN_NARROW_LARGE "smmlar r8, r8, r11, r8\n\t"

#define GNN_NARROW_FUNCTION(name, with_factor)                                                                                         \
    static GNN_NOINLINE void name(const gnn_narrow *narrow)                                                                            \
    {                                                                                                                                  \
        register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)narrow;                                                              \
        __asm__ volatile("push {r7}\n\t"                                                                                               \
                         "ldm r0, {r8-r11, lr}\n\t"                                                                                    \
                         "push {r9-r11}\n\t"                                                                                           \
                         "ldm r8, {r0-r7}\n"                                                                                           \
                         "1:\n\t"                                                                                                      \
                         "ldmia lr!, {r8-r12}\n\t"                                                                                     \
                         "smlad r12, r0, r8, r12\n\t"                                                                                  \
                         "smlad r12, r1, r9, r12\n\t"                                                                                  \
                         "smlad r12, r2, r10, r12\n\t"                                                                                 \
                         "smlad r12, r3, r11, r12\n\t"                                                                                 \
                         "ldmia lr!, {r8-r11}\n\t"                                                                                     \
                         "smlad r12, r4, r8, r12\n\t"                                                                                  \
                         "smlad r12, r5, r9, r12\n\t"                                                                                  \
                         "smlad r12, r6, r10, r12\n\t"                                                                                 \
                         "smlad r12, r7, r11, r12\n\t"                                                                                 \
                         "ldmia lr!, {r8-r10}\n\t"                                                                                     \
                         "ldr r11, [sp, #8]\n\t"                                                                                       \
                         with_factor                                                                                                   \
                         "smmla r12, r12, r8, r9\n\t"                                                                                  \
                         "asr r12, r12, r10\n\t"                                                                                       \
                         "ldrd r8, r9, [sp]\n\t"                                                                                       \
                         "ssat r12, #8, r12\n\t"                                                                                       \
                         "strb r12, [r8], #1\n\t"                                                                                      \
                         "str r8, [sp]\n\t"                                                                                            \
                         "cmp r8, r9\n\t"                                                                                              \
                         "bne 1b\n\t"                                                                                                  \
                         "add sp, #12\n\t"                                                                                             \
                         "pop {r7}"                                                                                                    \
                         : "+r"(at)                                                                                                    \
                         :                                                                                                             \
                         : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");                 \
    }

GNN_NARROW_FUNCTION(gnn_narrow_row, "")
GNN_NARROW_FUNCTION(gnn_narrow_row_small, GNN_NARROW_SMALL)
GNN_NARROW_FUNCTION(gnn_narrow_row_large, GNN_NARROW_LARGE)

#ifdef __cplusplus
}
#endif
#endif
#endif
