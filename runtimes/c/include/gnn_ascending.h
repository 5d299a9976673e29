/* Whether numbers of 16 bits increase, several at a time where there are instructions for it. */
#ifndef GNN_ASCENDING_H
#define GNN_ASCENDING_H

#include "gnn_copy.h"
#include "gnn_kernels.h"
#include "gnn_variant.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Whether each of `count` numbers is larger than the one before it; count >= 1. */
static GNN_INLINE int gnn_is_ascending(const uint16_t *x, uint32_t count)
{
    const uint16_t *const last = x + (count - 1u);
#if defined(GNN_DSP)
    /* Pairs of neighbours: GE is set where the first is not less than the second, and SEL remembers it. Words may be unaligned. */
    uint32_t wrong = 0, first, second;
    if (count % 2u == 0u) {
        if (x[0] >= x[1]) {
            return 0;
        }
        ++x;
    }
    while (x != last) {
        GNN_COPY(&first, x, 4u);
        GNN_COPY(&second, x + 1, 4u);
        __asm__("usub16 %1, %1, %2\n\t"
                "sel %0, %3, %0"
                : "+r"(wrong), "+r"(first)
                : "r"(second), "r"(~0u)
                : "cc");
        x += 2;
    }
    return wrong == 0u;
#else
    uint32_t wrong = 0;
    for (; x != last; ++x) {
        wrong |= (uint32_t)(x[0] >= x[1]);
    }
    return wrong == 0u;
#endif
}

#ifdef __cplusplus
}
#endif
#endif
