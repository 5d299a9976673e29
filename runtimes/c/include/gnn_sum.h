/* Float sums of thousands of terms. Equal terms round the same way each time, so a plain float sum of 5,000 of them may be off by 7e-5. */
#ifndef GNN_SUM_H
#define GNN_SUM_H

#include "gnn_float.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_SUM_BLOCK 64u /* terms that are summed plainly before they join a compensated sum */

/* Adds x to *sum; *error is what the sum is too large by (Kahan 1965). Start with both 0. Under -ffast-math it is a plain sum. */
static inline void gnn_add_compensated(float *sum, float *error, float x)
{
    const float corrected = x - *error;
    const float next = *sum + corrected;
    *error = (next - *sum) - corrected;
    *sum = next;
}

#ifdef __cplusplus
}
#endif
#endif
