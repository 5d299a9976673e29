/* Whether numbers of 16 bits increase, several at a time where there are instructions for it. */
#ifndef GNN_ASCENDING_H
#define GNN_ASCENDING_H

#include "gnn_copy.h"
#include "gnn_kernels.h"
#include "gnn_variant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Two numbers from x + k on with those behind each. */
#define GNN_COMPARE_PAIRS(k)                                                                                                           \
    GNN_COPY(&first, x + (k), 4u);                                                                                                     \
    GNN_COPY(&second, x + (k) + 1, 4u);                                                                                                \
    __asm__("usub16 %1, %1, %2\n\t"                                                                                                    \
            "sel %0, %3, %0"                                                                                                           \
            : "+r"(wrong), "+r"(first)                                                                                                 \
            : "r"(second), "r"(~0u)                                                                                                    \
            : "cc")

/* 0 where each number from x to end is larger than the one before it; there is at least one. */
static GNN_INLINE uint32_t gnn_not_ascending(const uint16_t *x, const uint16_t *end)
{
    uint32_t wrong = 0;
#if defined(GNN_DSP)
    /* Pairs of neighbours: GE is set where the first is not less than the second, and SEL remembers it. Words may be unaligned. */
    uint32_t first, second;
    if (end - x >= 5) {
        const uint16_t *const last = end - 5;
        while (x < last) {
            GNN_COMPARE_PAIRS(0);
            GNN_COMPARE_PAIRS(2);
            x += 4;
        }
        x = last; /* may compare some a second time */
        GNN_COMPARE_PAIRS(0);
        GNN_COMPARE_PAIRS(2);
        return wrong;
    }
#endif
    for (; x + 1 != end; ++x) {
        wrong |= (uint32_t)(x[0] >= x[1]);
    }
    return wrong;
}

#ifdef __cplusplus
}
#endif
#endif
