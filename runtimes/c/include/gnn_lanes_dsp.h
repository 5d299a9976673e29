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
    const uint16_t *index; /* 0: of a row; then where it ends */
    const uint16_t *end;   /* 4: GNN_LANE_COUNT behind index at most */
    const int8_t *x;       /* 8: row 0 at the first column */
    uint32_t stride;       /* 12 */
    uint32_t second;       /* 16: from the first four of eight columns to the second four: 4, or less where there are not 8 */
    uint32_t sum[8];       /* 20: columns 0 and 2, 1 and 3, 4 and 6, 5 and 7, ... */
    uint32_t first, count; /* the columns whose sums these are */
    void (*add)(struct gnn_lanes *lanes);
} gnn_lanes;

/* One row of sixteen columns: r0-r7 sums, r12 index, lr x. GNN_ROWS_OF_ANY: r11 stride. */
#define GNN_ROWS_OF_ANY(add)                                                                                                           \
    "ldrh r8, [r12], #2\n\t"                                                                                                           \
    "mla r8, r8, r11, lr\n\t"                                                                                                          \
    "ldmia r8!, {r9, r10}\n\t"                                                                                                         \
    add("r0", "r1", "r9")                                                                                                              \
    add("r2", "r3", "r10")                                                                                                             \
    "ldmia r8, {r9, r10}\n\t"                                                                                                          \
    add("r4", "r5", "r9")                                                                                                              \
    add("r6", "r7", "r10")

#define GNN_ROWS_OF_SIXTEEN(add)                                                                                                       \
    "ldrh r8, [r12], #2\n\t"                                                                                                           \
    "add r8, lr, r8, lsl #4\n\t"                                                                                                       \
    "ldmia r8, {r8-r11}\n\t"                                                                                                           \
    add("r0", "r1", "r8")                                                                                                              \
    add("r2", "r3", "r9")                                                                                                              \
    add("r4", "r5", "r10")                                                                                                             \
    add("r6", "r7", "r11")

#define GNN_LANES_START(even, odd, word)                                                                                               \
    "sxtb16 " even ", " word "\n\t"                                                                                                    \
    "sxtb16 " odd ", " word ", ror #8\n\t"

#define GNN_LANES_ADD(even, odd, word)                                                                                                 \
    "sxtab16 " even ", " even ", " word "\n\t"                                                                                         \
    "sxtab16 " odd ", " odd ", " word ", ror #8\n\t"

/* The first row, what is left over from fours, fours. Leaves `index` where the row ends. */
#define GNN_SUM_OF_SIXTEEN(row)                                                                                                        \
    "ldm r0, {r8-r11}\n\t"                                                                                                             \
    "str r9, [r0]\n\t"                                                                                                                 \
    "mov r12, r8\n\t"                                                                                                                  \
    "mov lr, r10\n\t"                                                                                                                  \
    "subs r8, r9, r8\n\t"                                                                                                              \
    "beq 4f\n\t"                                                                                                                       \
    "sub r8, r8, #2\n\t"                                                                                                               \
    "bic r8, r8, #7\n\t"                                                                                                               \
    "sub r8, r9, r8\n\t"                                                                                                               \
    "push {r0, r7-r9}\n\t"                                                                                                             \
    row(GNN_LANES_START)                                                                                                               \
    "ldr r8, [sp, #8]\n\t"                                                                                                             \
    "cmp r12, r8\n\t"                                                                                                                  \
    "beq 2f\n"                                                                                                                         \
    "1:\n\t"                                                                                                                           \
    row(GNN_LANES_ADD)                                                                                                                 \
    "ldr r8, [sp, #8]\n\t"                                                                                                             \
    "cmp r12, r8\n\t"                                                                                                                  \
    "bne 1b\n"                                                                                                                         \
    "2:\n\t"                                                                                                                           \
    "ldr r8, [sp, #12]\n\t"                                                                                                            \
    "cmp r12, r8\n\t"                                                                                                                  \
    "beq 32f\n"                                                                                                                        \
    "31:\n\t"                                                                                                                          \
    row(GNN_LANES_ADD) row(GNN_LANES_ADD) row(GNN_LANES_ADD) row(GNN_LANES_ADD)                                                        \
    "ldr r8, [sp, #12]\n\t"                                                                                                            \
    "cmp r12, r8\n\t"                                                                                                                  \
    "bne 31b\n"                                                                                                                        \
    "32:\n\t"                                                                                                                          \
    "ldr r8, [sp]\n\t"                                                                                                                 \
    "add r8, r8, #20\n\t"                                                                                                              \
    "stmia r8, {r0-r7}\n\t"                                                                                                            \
    "ldr r7, [sp, #4]\n\t"                                                                                                             \
    "add sp, #16\n\t"                                                                                                                  \
    "b 5f\n"                                                                                                                           \
    "4:\n\t"                                                                                                                           \
    "add r8, r0, #20\n\t"                                                                                                              \
    "mov r1, #0\n\t"                                                                                                                   \
    "mov r2, #0\n\t"                                                                                                                   \
    "mov r3, #0\n\t"                                                                                                                   \
    "mov r4, #0\n\t"                                                                                                                   \
    "stmia r8!, {r1-r4}\n\t"                                                                                                           \
    "stmia r8!, {r1-r4}\n"                                                                                                             \
    "5:\n\t"

#define GNN_LANES_CLOBBERED "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

/* Sixteen columns on 4 bytes. */
static GNN_NOINLINE void gnn_sum_sixteen(gnn_lanes *lanes)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)lanes;
    __asm__ volatile(GNN_SUM_OF_SIXTEEN(GNN_ROWS_OF_ANY) : "+r"(at) : : GNN_LANES_CLOBBERED);
}

/* The same for rows of sixteen columns. */
static GNN_NOINLINE void gnn_sum_all_sixteen(gnn_lanes *lanes)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)lanes;
    __asm__ volatile(GNN_SUM_OF_SIXTEEN(GNN_ROWS_OF_SIXTEEN) : "+r"(at) : : GNN_LANES_CLOBBERED);
}

/* One row of eight columns. */
#define GNN_ADD_EIGHT                                                                                                                  \
    "ldrh r11, [r4], #2\n\t"                                                                                                           \
    "mla r11, r11, r8, r6\n\t"                                                                                                         \
    "ldr r12, [r11]\n\t"                                                                                                               \
    "ldr r11, [r11, r9]\n\t"                                                                                                           \
    "sxtab16 r1, r1, r12\n\t"                                                                                                          \
    "sxtab16 r2, r2, r12, ror #8\n\t"                                                                                                  \
    "sxtab16 r3, r3, r11\n\t"                                                                                                          \
    "sxtab16 r10, r10, r11, ror #8\n\t"

/* Eight columns, the second four of which may overlap the first. Words may be unaligned, which the processor allows. */
static GNN_NOINLINE void gnn_sum_eight(gnn_lanes *lanes)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)lanes;
    __asm__ volatile("ldm r0, {r4-r6, r8, r9}\n\t"
                     "str r5, [r0]\n\t"
                     "mov r1, #0\n\t"
                     "mov r2, #0\n\t"
                     "mov r3, #0\n\t"
                     "mov r10, #0\n\t"
                     "cmp r4, r5\n\t"
                     "beq 2f\n\t"
                     "sub r11, r5, r4\n\t"
                     "tst r11, #2\n\t"
                     "beq 1f\n\t"
                     GNN_ADD_EIGHT
                     "cmp r4, r5\n\t"
                     "beq 2f\n"
                     "1:\n\t"
                     GNN_ADD_EIGHT GNN_ADD_EIGHT
                     "cmp r4, r5\n\t"
                     "bne 1b\n"
                     "2:\n\t"
                     "add r0, r0, #20\n\t"
                     "stmia r0, {r1-r3, r10}"
                     : "+r"(at)
                     :
                     : GNN_LANES_CLOBBERED);
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
    lanes->add = count != 16u ? gnn_sum_eight : columns == 16u ? gnn_sum_all_sixteen : gnn_sum_sixteen;
}

/* How many rows there are before one whose sum needs more than 16 bits. */
static GNN_INLINE uint32_t gnn_short_rows(const uint32_t *pointer, uint32_t rows)
{
    const uint32_t *const start = pointer, *const end = pointer + rows;
    while (end - pointer >= 8 && pointer[8] - pointer[0] <= GNN_LANE_COUNT) {
        pointer += 8; /* all of them together are no longer than one may be */
    }
    while (pointer != end && pointer[1] - pointer[0] <= GNN_LANE_COUNT) {
        ++pointer;
    }
    return (uint32_t)(pointer - start);
}

#ifdef __cplusplus
}
#endif
#endif
#endif
