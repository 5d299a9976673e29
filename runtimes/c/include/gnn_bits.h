/* Floats as their IEEE 754 bits. What looks at bits holds under -ffast-math too. */
#ifndef GNN_BITS_H
#define GNN_BITS_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint32_t gnn_bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float gnn_float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Whether x is neither infinite nor NaN. */
static inline int gnn_is_finite(float x) {
    return (gnn_bits_of(x) & 0x7F800000u) != 0x7F800000u;
}

#ifdef __cplusplus
}
#endif
#endif
