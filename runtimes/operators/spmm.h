/* Sums of neighbours' rows: y_i = sum over the in-edges e of node i of coefficient_e * x_source(e).
 *
 * One function for every runtime that calls it; each file beside this one fits it to the interface of one of them.
 */
#ifndef POCKETGNN_SPMM_H
#define POCKETGNN_SPMM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define SPMM_LANES 16
#elif defined(__AVX__)
#define SPMM_LANES 8
#else
#define SPMM_LANES 4
#endif
#define SPMM_WIDE (4 * SPMM_LANES) /* channels that stay in registers while the edges of a node pass */

typedef float spmm_lanes __attribute__((vector_size(4 * SPMM_LANES)));

/* Row offsets start at 0, never decrease and end within the edges; sources are rows of x. */
typedef struct {
    const float *x;             /* [rows, channels] */
    const int64_t *row_pointer; /* [targets + 1] */
    const int64_t *source;      /* [edges] */
    const float *coefficient;   /* [edges], or NULL: all 1 */
    int64_t rows, channels, targets, edges;
} spmm_operands;

/* What is wrong with the indices, or NULL. */
static const char *spmm_fault(const spmm_operands *o)
{
    if (o->targets < 0 || o->row_pointer[0] != 0 || o->row_pointer[o->targets] > o->edges) {
        return "row_pointer: must begin with 0 and end at an edge";
    }
    for (int64_t i = 0; i < o->targets; ++i) {
        if (o->row_pointer[i] > o->row_pointer[i + 1]) {
            return "row_pointer: decreases";
        }
    }
    int is_outside = 0; /* no early exit, so that the loop becomes vectors */
    for (int64_t e = 0; e < o->edges; ++e) {
        is_outside |= (uint64_t)o->source[e] >= (uint64_t)o->rows;
    }
    return is_outside ? "source: not a row of x" : NULL;
}

static inline spmm_lanes spmm_load(const float *from)
{
    spmm_lanes lanes;
    memcpy(&lanes, from, sizeof lanes);
    return lanes;
}

/* y [targets, channels]; the indices have no fault. */
static void spmm(const spmm_operands *o, float *y)
{
    const int64_t channels = o->channels;
    for (int64_t i = 0; i < o->targets; ++i, y += channels) {
        const int64_t start = o->row_pointer[i], end = o->row_pointer[i + 1];
        int64_t c = 0;
        for (; c + SPMM_WIDE <= channels; c += SPMM_WIDE) {
            spmm_lanes sums[4] = {{0}, {0}, {0}, {0}};
            for (int64_t e = start; e < end; ++e) {
                const float *x = o->x + o->source[e] * channels + c;
                const float factor = o->coefficient != NULL ? o->coefficient[e] : 1.0f;
                sums[0] += spmm_load(x) * factor;
                sums[1] += spmm_load(x + SPMM_LANES) * factor;
                sums[2] += spmm_load(x + 2 * SPMM_LANES) * factor;
                sums[3] += spmm_load(x + 3 * SPMM_LANES) * factor;
            }
            memcpy(y + c, sums, sizeof sums);
        }
        for (; c + SPMM_LANES <= channels; c += SPMM_LANES) {
            spmm_lanes sum = {0};
            for (int64_t e = start; e < end; ++e) {
                sum += spmm_load(o->x + o->source[e] * channels + c) * (o->coefficient != NULL ? o->coefficient[e] : 1.0f);
            }
            memcpy(y + c, &sum, sizeof sum);
        }
        for (; c < channels; ++c) {
            float sum = 0.0f;
            for (int64_t e = start; e < end; ++e) {
                sum += o->x[o->source[e] * channels + c] * (o->coefficient != NULL ? o->coefficient[e] : 1.0f);
            }
            y[c] = sum;
        }
    }
}

#endif
