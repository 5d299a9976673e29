/* The text of the loop over the output channels of gnn_linear_dsp.h, for its types of weights and codes. */
#ifndef GNN_LINEAR_LOOP_DSP_H
#define GNN_LINEAR_LOOP_DSP_H

#include "gnn_variant.h"

/* acc[r] += four products. r0-r3 acc, r12 x, r8-r11 a pair of each row, `word` four weights, r6 is free. */
#define GNN_FOUR_PRODUCTS(word)                                                                                                        \
    "sxtb16 r6, " word "\n\t"                                                                                                          \
    "ldmia r12!, {r8-r11}\n\t"                                                                                                         \
    "sxtb16 " word ", " word ", ror #8\n\t"                                                                                            \
    "smlad r0, r8, r6, r0\n\t"                                                                                                         \
    "smlad r1, r9, r6, r1\n\t"                                                                                                         \
    "smlad r2, r10, r6, r2\n\t"                                                                                                        \
    "smlad r3, r11, r6, r3\n\t"                                                                                                        \
    "ldmia r12!, {r8-r11}\n\t"                                                                                                         \
    "smlad r0, r8, " word ", r0\n\t"                                                                                                   \
    "smlad r1, r9, " word ", r1\n\t"                                                                                                   \
    "smlad r2, r10, " word ", r2\n\t"                                                                                                  \
    "smlad r3, r11, " word ", r3\n\t"

/* The same with pairs of 4 bits in r4, `at` bits up, and a mask in r5. */
#define GNN_PAIR_PRODUCTS(at)                                                                                                          \
    "and r6, r5, r4" at "\n\t"                                                                                                         \
    "ldmia r12!, {r8-r11}\n\t"                                                                                                         \
    "smlad r0, r8, r6, r0\n\t"                                                                                                         \
    "smlad r1, r9, r6, r1\n\t"                                                                                                         \
    "smlad r2, r10, r6, r2\n\t"                                                                                                        \
    "smlad r3, r11, r6, r3\n\t"

/* acc += four products of one row at x; weights in r5 and r4. */
#define GNN_ROW_PRODUCTS(acc, x)                                                                                                       \
    "ldrd r8, r9, [" x "], #8\n\t"                                                                                                     \
    "smlad " acc ", r8, r5, " acc "\n\t"                                                                                               \
    "smlad " acc ", r9, r4, " acc "\n\t"

/* acc = rounding + high(acc srdhm(m, R)) with 2 R at [lr, at], m in r12, rounding in r8. 2 R may have become negative: then m 2^32 is missing
 * from the product. */
#define GNN_FACTOR_PRODUCT(acc, at)                                                                                                    \
    "ldr r9, [lr, #" at "]\n\t"                                                                                                        \
    "and r10, r12, r9, asr #31\n\t"                                                                                                    \
    "smmlar r10, r12, r9, r10\n\t"                                                                                                     \
    "smmla " acc ", " acc ", r10, r8\n\t"

/* The last bit of the shift by s - 32 is done here. */
#define GNN_SATURATE(bits)                                                                                                             \
    "ssat r0, #" bits ", r0, asr #1\n\t"                                                                                               \
    "ssat r1, #" bits ", r1, asr #1\n\t"                                                                                               \
    "ssat r2, #" bits ", r2, asr #1\n\t"                                                                                               \
    "ssat r3, #" bits ", r3, asr #1\n\t"

#define GNN_STORE(instruction, size)                                                                                                   \
    "ldrd r9, r10, [lr, #40]\n\t"                                                                                                      \
    "ldr r12, [lr, #48]\n\t"                                                                                                           \
    instruction " r3, [r6, r12]\n\t"                                                                                                   \
    instruction " r2, [r6, r10]\n\t"                                                                                                   \
    instruction " r1, [r6, r9]\n\t"                                                                                                    \
    instruction " r0, [r6], #" size "\n\t"

#define GNN_STORE_S8 GNN_SATURATE("8") GNN_STORE("strb", "1")

/* Any bounds of 16 bits: the maximum with low and the minimum with high of two rows at a time. */
#define GNN_STORE_S16                                                                                                                  \
    "ldrd r9, r10, [lr, #28]\n\t"                                                                                                      \
    "cmp r10, #0\n\t"                                                                                                                  \
    "beq 41f\n\t"                                                                                                                      \
    GNN_SATURATE("16")                                                                                                                 \
    "pkhbt r0, r0, r1, lsl #16\n\t"                                                                                                    \
    "pkhbt r2, r2, r3, lsl #16\n\t"                                                                                                    \
    "ssub16 r8, r0, r9\n\t"                                                                                                            \
    "sel r0, r0, r9\n\t"                                                                                                               \
    "ssub16 r8, r2, r9\n\t"                                                                                                            \
    "sel r2, r2, r9\n\t"                                                                                                               \
    "ssub16 r8, r10, r0\n\t"                                                                                                           \
    "sel r0, r0, r10\n\t"                                                                                                              \
    "ssub16 r8, r10, r2\n\t"                                                                                                           \
    "sel r2, r2, r10\n\t"                                                                                                              \
    "lsr r3, r2, #16\n\t"                                                                                                              \
    "lsr r1, r0, #16\n\t"                                                                                                              \
    "b 42f\n"                                                                                                                          \
    "41:\n\t"                                                                                                                          \
    GNN_SATURATE("8") "\n"                                                                                                             \
    "42:\n\t"                                                                                                                          \
    GNN_STORE("strh", "2")

/* Accumulators of a Linear: bias and products. r4 multiplier, r7 weights, r5, r8-r10 and r12 the fields before `multiplier`. Interleaved x
 * is taken in groups of 16 values of a row; what is left of `in` comes first. */
#define GNN_DENSE_SUMS                                                                                                                 \
    "ldr r0, [r4, r8]\n\t"                                                                                                             \
    "add lr, r7, r10\n\t"                                                                                                              \
    "mov r1, r0\n\t"                                                                                                                   \
    "mov r2, r0\n\t"                                                                                                                   \
    "mov r3, r0\n\t"                                                                                                                   \
    "tbb [pc, r5]\n"                                                                                                                   \
    "20:\n\t"                                                                                                                          \
    ".byte (2f - 20b) / 2, (21f - 20b) / 2, (24f - 20b) / 2, (22f - 20b) / 2\n\t"                                                      \
    GNN_LONG_ROWS                                                                                                                      \
    "21:\n\t" /* four values */                                                                                                        \
    "ldr r5, [r7], #4\n\t"                                                                                                             \
    "b 25f\n"                                                                                                                          \
    "22:\n\t" /* twelve */                                                                                                             \
    "ldr r5, [r7], #4\n\t"                                                                                                             \
    "b 23f\n"                                                                                                                          \
    "2:\n\t"                                                                                                                           \
    "ldrd r4, r5, [r7], #8\n\t"                                                                                                        \
    GNN_FOUR_PRODUCTS("r4")                                                                                                            \
    "23:\n\t"                                                                                                                          \
    GNN_FOUR_PRODUCTS("r5")                                                                                                            \
    "24:\n\t"                                                                                                                          \
    "ldrd r4, r5, [r7], #8\n\t"                                                                                                        \
    GNN_FOUR_PRODUCTS("r4")                                                                                                            \
    "25:\n\t"                                                                                                                          \
    GNN_FOUR_PRODUCTS("r5")                                                                                                            \
    "cmp r7, lr\n\t"                                                                                                                   \
    "bne 2b\n"

/* The bias of a channel. */
#define GNN_BIAS "ldr r6, [r4, r8]\n\t"
#define GNN_BIAS_OF_TERM "ldr r6, [lr, #4]\n\tldrsh r6, [r6]\n\tasr r6, r6, #4\n\t"

/* s - 33 of a channel in r11. */
#define GNN_SHIFT "ldrb r11, [r5], #1\n\tsub r11, r11, #33\n\t"
#define GNN_SHIFT_OF_TERM "ldrh r11, [r5], #2\n\tldr r12, [lr, #-16]\n\tand r11, r11, #15\n\tadd r11, r11, r12\n\t"

/* The same with interleaved x and weights of 4 bits, which are stored plus 8: the sum starts with - 8 sum_k x[r][k]. */
#define GNN_NIBBLE_SUMS(bias)                                                                                                          \
    bias                                                                                                                               \
    "add r0, lr, #72\n\t"                                                                                                              \
    "add lr, r7, r10\n\t"                                                                                                              \
    "ldm r0, {r0-r3}\n\t"                                                                                                              \
    "mov r9, r5\n\t"                                                                                                                   \
    "mov r5, #0x000F000F\n\t"                                                                                                          \
    "add r0, r0, r6\n\t"                                                                                                               \
    "add r1, r1, r6\n\t"                                                                                                               \
    "add r2, r2, r6\n\t"                                                                                                               \
    "add r3, r3, r6\n\t"                                                                                                               \
    "tbb [pc, r9]\n"                                                                                                                   \
    "20:\n\t"                                                                                                                          \
    ".byte (2f - 20b) / 2, (21f - 20b) / 2, (24f - 20b) / 2, (21f - 20b) / 2\n"                                                        \
    "21:\n\t" /* four values, or twelve */                                                                                             \
    "ldrh r4, [r7], #2\n\t"                                                                                                            \
    "cmp r9, #1\n\t"                                                                                                                   \
    "lsl r4, r4, #8\n\t"                                                                                                               \
    "orr r4, r4, r4, lsl #8\n\t"                                                                                                       \
    "beq 25f\n\t"                                                                                                                      \
    "b 23f\n"                                                                                                                          \
    "2:\n\t"                                                                                                                           \
    "ldr r4, [r7], #4\n\t"                                                                                                             \
    GNN_PAIR_PRODUCTS("") GNN_PAIR_PRODUCTS(", lsr #4")                                                                                \
    "23:\n\t"                                                                                                                          \
    GNN_PAIR_PRODUCTS(", lsr #8") GNN_PAIR_PRODUCTS(", lsr #12")                                                                       \
    "24:\n\t"                                                                                                                          \
    "ldr r4, [r7], #4\n\t"                                                                                                             \
    GNN_PAIR_PRODUCTS("") GNN_PAIR_PRODUCTS(", lsr #4")                                                                                \
    "25:\n\t"                                                                                                                          \
    GNN_PAIR_PRODUCTS(", lsr #8") GNN_PAIR_PRODUCTS(", lsr #12")                                                                       \
    "cmp r7, lr\n\t"                                                                                                                   \
    "bne 2b\n"

/* GNN_DENSE_SUMS on rows of x, of any length. */
#if GNN_USES_LONG_ROWS
#define GNN_LONG_ROWS                                                                                                                  \
    ".byte (26f - 20b) / 2, 0\n"                                                                                                       \
    "26:\n\t"                                                                                                                          \
    "lsl r5, r10, #1\n\t"                                                                                                              \
    "add r6, r12, r5\n\t"                                                                                                              \
    "add r10, r6, r5\n\t"                                                                                                              \
    "add r11, r10, r5\n"                                                                                                               \
    "5:\n\t"                                                                                                                           \
    "ldr r4, [r7], #4\n\t"                                                                                                             \
    "sxtb16 r5, r4\n\t"                                                                                                                \
    "sxtb16 r4, r4, ror #8\n\t"                                                                                                        \
    GNN_ROW_PRODUCTS("r0", "r12") GNN_ROW_PRODUCTS("r1", "r6") GNN_ROW_PRODUCTS("r2", "r10") GNN_ROW_PRODUCTS("r3", "r11")             \
    "cmp r7, lr\n\t"                                                                                                                   \
    "bne 5b\n\t"                                                                                                                       \
    "b 3f\n"
#else
#define GNN_LONG_ROWS
#endif

/* With row factors or a left shift. */
#if GNN_USES_LEFT_SHIFT || GNN_USES_ROW_FACTOR
#define GNN_IF_SCALED "cmp r10, #0\n\tbne 6f\n\t"
#define GNN_SCALED                                                                                                                     \
    "6:\n\t"                                                                                                                           \
    GNN_SHIFTED                                                                                                                        \
    GNN_FACTOR_PRODUCT("r0", "52") GNN_FACTOR_PRODUCT("r1", "56") GNN_FACTOR_PRODUCT("r2", "60") GNN_FACTOR_PRODUCT("r3", "64")        \
    "b 4b\n\t"
#else
#define GNN_IF_SCALED
#define GNN_SCALED
#endif
#if GNN_USES_LEFT_SHIFT
#define GNN_SHIFTED                                                                                                                    \
    "cmp r10, #2\n\t"                                                                                                                  \
    "bne 61f\n\t"                                                                                                                      \
    "ldr r9, [lr, #68]\n\t"                                                                                                            \
    "lsl r0, r0, r9\n\t"                                                                                                               \
    "lsl r1, r1, r9\n\t"                                                                                                               \
    "lsl r2, r2, r9\n\t"                                                                                                               \
    "lsl r3, r3, r9\n\t"                                                                                                               \
    "61:\n\t"
#else
#define GNN_SHIFTED
#endif

/* A channel that is left to C. */
#if GNN_USES_RARE
#define GNN_LEAVE_RARE "cmp r11, r9\n\tbhs 7f\n\t"
#define GNN_RARE                                                                                                                       \
    "7:\n\t"                                                                                                                           \
    "add r4, lr, #88\n\t"                                                                                                              \
    "stmia r4, {r0-r3}\n\t"                                                                                                            \
    "movs r0, #1\n\t"
#else
#define GNN_LEAVE_RARE
#define GNN_RARE
#endif

#if GNN_USES_RARE
#define GNN_DONE "movs r0, #0\n\tb 8f\n"
#elif GNN_USES_LEFT_SHIFT || GNN_USES_ROW_FACTOR
#define GNN_DONE "b 8f\n"
#else
#define GNN_DONE "\n"
#endif

/* The loop over channels. Ends with r0 = 0 where y == y_end, or with r0 = 1 for a channel that is left to C: y, multiplier and shift then
 * still point to it. r7 is saved here, since it may be the frame pointer. */
#define GNN_CHANNEL_LOOP(sums, store) GNN_CHANNEL_LOOP_OF(sums, GNN_SHIFT, store)
#define GNN_CHANNEL_LOOP_OF(sums, shift, store)                                                                                        \
    "push {r0, r7}\n\t"                                                                                                                \
    "mov lr, r0\n\t"                                                                                                                   \
    "ldr r7, [lr, #24]\n\t"                                                                                                            \
    "ldmia lr, {r4-r6}\n\t"                                                                                                            \
    "ldmdb lr, {r5, r8-r10, r12}\n"                                                                                                    \
    "1:\n\t" /* the next channel */                                                                                                    \
    sums                                                                                                                               \
    "3:\n\t" /* from accumulators to codes */                                                                                          \
    "ldr lr, [sp]\n\t"                                                                                                                 \
    "ldmia lr, {r4-r6, r8-r10}\n\t"                                                                                                    \
    shift                                                                                                                              \
    GNN_LEAVE_RARE                                                                                                                     \
    "ldr r12, [r4], #4\n\t"                                                                                                            \
    "lsl r8, r8, r11\n\t"                                                                                                              \
    GNN_IF_SCALED                                                                                                                      \
    "smmla r0, r0, r12, r8\n\t"                                                                                                        \
    "smmla r1, r1, r12, r8\n\t"                                                                                                        \
    "smmla r2, r2, r12, r8\n\t"                                                                                                        \
    "smmla r3, r3, r12, r8\n"                                                                                                          \
    "4:\n\t"                                                                                                                           \
    "asr r0, r0, r11\n\t"                                                                                                              \
    "asr r1, r1, r11\n\t"                                                                                                              \
    "asr r2, r2, r11\n\t"                                                                                                              \
    "asr r3, r3, r11\n\t"                                                                                                              \
    store                                                                                                                              \
    "stmia lr, {r4-r6}\n\t"                                                                                                            \
    "ldmdb lr, {r5, r8-r10, r12}\n\t"                                                                                                  \
    "cmp r6, r9\n\t"                                                                                                                   \
    "bne 1b\n\t"                                                                                                                       \
    GNN_DONE                                                                                                                           \
    GNN_SCALED                                                                                                                         \
    GNN_RARE                                                                                                                           \
    "8:\n\t"                                                                                                                           \
    "str r7, [lr, #24]\n\t"                                                                                                            \
    "pop {r1, r7}\n\t"

#define GNN_CLOBBERED "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"

#endif
