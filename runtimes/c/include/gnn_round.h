/* Float to integer, half to even, without libm. */
#ifndef GNN_ROUND_H
#define GNN_ROUND_H

#include "gnn_float.h"

#ifdef __cplusplus
extern "C" {
#endif

/* rint(x) clamped to [low, high], both within +-2^22. NaN gives low. Nothing here changes with -ffast-math. */
static inline int32_t gnn_round_f32(float x, int32_t low, int32_t high)
{
    int32_t whole;
    float rest;
    x = x > (float)low ? x : (float)low;
    x = x < (float)high ? x : (float)high;
    whole = (int32_t)x;
    rest = x - (float)whole; /* exact, in (-1, 1) */
    whole += rest > 0.5f || (rest == 0.5f && (whole & 1) != 0);
    whole -= rest < -0.5f || (rest == -0.5f && (whole & 1) != 0);
    return whole;
}

#ifdef __cplusplus
}
#endif
#endif
