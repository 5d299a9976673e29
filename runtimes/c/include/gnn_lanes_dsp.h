/* Sums of rows of int8 that an index names, with the Arm DSP extension: SXTAB16 adds two columns at once into lanes of 16 bits. */
#ifndef GNN_LANES_DSP_H
#define GNN_LANES_DSP_H

#include "gnn_requantize.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

/* What the sum of one row works on. The assembly knows the offsets. */
typedef struct gnn_lanes {
    const uint16_t *index; /* 0 */
    const uint16_t *end;   /* 4: GNN_LANE_COUNT behind index at most */
    const int8_t *x;       /* 8: row 0 at the first column */
    uint32_t stride;       /* 12 */
    uint32_t second;       /* 16: from the first four of eight columns to the second four: 4, or less where there are not 8 */
    uint32_t sum[8];       /* 20: columns 0 and 2, 1 and 3, 4 and 6, 5 and 7, ... */
    uint32_t first, count; /* the columns whose sums these are */
    void (*add)(struct gnn_lanes *lanes);
} gnn_lanes;

/* One row of sixteen columns: r0-r7 sums, r11 stride, r12 index, lr x. */
#define GNN_ADD_SIXTEEN                                                                                                                \
    "ldrh r8, [r12], #2\n\t"                                                                                                           \
    "mla r8, r8, r11, lr\n\t"                                                                                                          \
    "ldmia r8!, {r9, r10}\n\t"                                                                                                         \
    "sxtab16 r0, r0, r9\n\t"                                                                                                           \
    "sxtab16 r1, r1, r9, ror #8\n\t"                                                                                                   \
    "sxtab16 r2, r2, r10\n\t"                                                                                                          \
    "sxtab16 r3, r3, r10, ror #8\n\t"                                                                                                  \
    "ldmia r8, {r9, r10}\n\t"                                                                                                          \
    "sxtab16 r4, r4, r9\n\t"                                                                                                           \
    "sxtab16 r5, r5, r9, ror #8\n\t"                                                                                                   \
    "sxtab16 r6, r6, r10\n\t"                                                                                                          \
    "sxtab16 r7, r7, r10, ror #8\n\t"

/* Sixteen columns on 4 bytes. */
static GNN_NOINLINE void gnn_sum_sixteen(gnn_lanes *lanes)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)lanes;
    __asm__ volatile("push {r0, r7}\n\t"
                     "ldm r0, {r8-r11}\n\t"
                     "mov r12, r8\n\t"
                     "mov lr, r10\n\t"
                     "sub r8, r9, r8\n\t"
                     "ands r8, r8, #6\n\t" /* what is left over from fours */
                     "add r8, r8, r12\n\t"
                     "push {r8, r9}\n\t"
                     "mov r0, #0\n\t"
                     "mov r1, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r3, #0\n\t"
                     "mov r4, #0\n\t"
                     "mov r5, #0\n\t"
                     "mov r6, #0\n\t"
                     "mov r7, #0\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     GNN_ADD_SIXTEEN
                     "ldr r8, [sp]\n\t"
                     "cmp r12, r8\n\t"
                     "bne 1b\n"
                     "2:\n\t"
                     "ldr r8, [sp, #4]\n\t"
                     "cmp r12, r8\n\t"
                     "beq 4f\n"
                     "3:\n\t"
                     GNN_ADD_SIXTEEN GNN_ADD_SIXTEEN GNN_ADD_SIXTEEN GNN_ADD_SIXTEEN
                     "ldr r8, [sp, #4]\n\t"
                     "cmp r12, r8\n\t"
                     "bne 3b\n"
                     "4:\n\t"
                     "ldr r8, [sp, #8]\n\t"
                     "add sp, #12\n\t"
                     "add r8, r8, #20\n\t"
                     "stmia r8, {r0-r7}\n\t"
                     "pop {r7}"
                     : "+r"(at)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

/* Eight columns, the second four of which may overlap the first. Words may be unaligned, which the processor allows. */
static GNN_NOINLINE void gnn_sum_eight(gnn_lanes *lanes)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)lanes;
    __asm__ volatile("ldm r0, {r4-r6, r8, r9}\n\t"
                     "mov r1, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r3, #0\n\t"
                     "mov r10, #0\n\t"
                     "cmp r4, r5\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     "ldrh r11, [r4], #2\n\t"
                     "mla r11, r11, r8, r6\n\t"
                     "ldr r12, [r11]\n\t"
                     "ldr r11, [r11, r9]\n\t"
                     "sxtab16 r1, r1, r12\n\t"
                     "sxtab16 r2, r2, r12, ror #8\n\t"
                     "sxtab16 r3, r3, r11\n\t"
                     "sxtab16 r10, r10, r11, ror #8\n\t"
                     "cmp r4, r5\n\t"
                     "bne 1b\n"
                     "2:\n\t"
                     "add r0, r0, #20\n\t"
                     "stmia r0, {r1-r3, r10}"
                     : "+r"(at)
                     :
                     : "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
}

/* Points to the columns from c on, and to some before it where too few are left; `columns` of them are in a row, 4 or more. */
static GNN_INLINE void gnn_place_lanes(gnn_lanes *lanes, const int8_t *x, uint32_t columns, uint32_t c)
{
    uint32_t count = columns < 8u ? columns : 8u;
    if (columns - c >= 16u && ((uint32_t)(uintptr_t)x | columns) % 4u == 0u) {
        count = 16u;
    } else if (columns - c < count) {
        c = columns - count;
    }
    lanes->x = x + c;
    lanes->stride = columns;
    lanes->second = count - 4u;
    lanes->first = c;
    lanes->count = count;
    lanes->add = count == 16u ? gnn_sum_sixteen : gnn_sum_eight;
}

/* How many rows there are before one whose sum needs more than 16 bits. */
static GNN_INLINE uint32_t gnn_short_rows(const uint32_t *pointer, uint32_t rows)
{
    const uint32_t *const start = pointer, *const end = pointer + rows;
    uint32_t begin = *pointer;
    while (pointer != end && pointer[1] - begin <= GNN_LANE_COUNT) {
        begin = *++pointer;
    }
    return (uint32_t)(pointer - start);
}

#ifdef __cplusplus
}
#endif
#endif
#endif
