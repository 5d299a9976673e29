#include "gnn_finish.h"
#include "gnn_kernels.h"
#include "gnn_loop.h"
#include "gnn_sum.h"
#include "gnn_variant.h"

/* Coefficient of one edge: w h r. */
static inline float coefficient(const gnn_topology *topology, const float *scale, const float *head_weight, uint32_t heads, uint32_t e)
{
    float product = scale != NULL ? scale[topology->source[e]] : 1.0f;
    product = topology->weight != NULL ? product * topology->weight[e] : product;
    return head_weight != NULL ? product * head_weight[(size_t)e * heads] : product;
}

/* sums[0..width) += messages of the edges begin .. end. width is at most GNN_LANES, and constant in the call for a full tile. */
static GNN_INLINE void add_edges(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *scale, const float *x,
                                 const float *head_weight, uint32_t begin, uint32_t end, uint32_t width, float *sums)
{
    if (width == GNN_LANES && scale == NULL && topology->weight == NULL && head_weight == NULL) { /* factors of 1 */
        for (uint32_t e = begin; e < end; ++e) {
            const float *const row = x + (size_t)topology->source[e] * op->channels;
            GNN_VECTOR_LOOP
            for (uint32_t o = 0; o < width; ++o) {
                sums[o] += row[o];
            }
        }
        return;
    }
    for (uint32_t e = begin; e < end; ++e) {
        const float factor = coefficient(topology, scale, head_weight, op->heads, e);
        const float *const row = x + (size_t)topology->source[e] * op->channels;
        GNN_VECTOR_LOOP
        for (uint32_t o = 0; o < width; ++o) {
            sums[o] += factor * row[o];
        }
    }
}

/* y[0..width) = sums of the messages of the edges begin .. end, width at most GNN_LANES. x points at the first of the channels of node 0,
 * head_weight at the head's weight of edge 0. */
static void sum_tile(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *scale, const float *x,
                     const float *head_weight, uint32_t begin, uint32_t end, uint32_t width, float *y)
{
    float error[GNN_LANES] = {0};
    uint32_t e = begin;
    do { /* once at least: without edges the sums are 0 */
        const uint32_t stop = end - e < GNN_SUM_BLOCK ? end : e + GNN_SUM_BLOCK;
        float sums[GNN_LANES] = {0};
        if (width == GNN_LANES) {
            add_edges(op, topology, scale, x, head_weight, e, stop, GNN_LANES, sums);
        } else {
            add_edges(op, topology, scale, x, head_weight, e, stop, width, sums);
        }
        if (e == begin) { /* most often all there is */
            for (uint32_t o = 0; o < width; ++o) {
                y[o] = sums[o];
            }
        } else {
            for (uint32_t o = 0; o < width; ++o) {
                gnn_add_compensated(y + o, error + o, sums[o]);
            }
        }
        e = stop;
    } while (e < end);
}

/* The same for maxima, or minima as maxima of the opposites; of all channels of a head. */
static void extreme_of_head(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *scale, const float *x,
                            const float *head_weight, uint32_t begin, uint32_t end, uint32_t width, float *y)
{
    const float sign = op->reduce == GNN_MAX ? 1.0f : -1.0f;
    for (uint32_t o = 0; o < width; ++o) {
        y[o] = 0.0f;
    }
    for (uint32_t e = begin; e < end; ++e) {
        const float factor = coefficient(topology, scale, head_weight, op->heads, e);
        const float *const row = x + (size_t)topology->source[e] * op->channels;
        for (uint32_t o = 0; o < width; ++o) {
            const float message = sign * (factor * row[o]);
            y[o] = e == begin || message > y[o] ? message : y[o];
        }
    }
    for (uint32_t o = 0; o < width; ++o) {
        y[o] *= sign;
    }
}

void gnn_propagate_f32(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *x, const float *edge_weight,
                       const float *out_scale, uint32_t first, uint32_t rows, float *y)
{
    const uint32_t channels = op->channels, heads = op->heads;
    const uint32_t head_width = heads != 0u ? channels / heads : channels;
    const float *const scale = op->source_scaled ? NULL : topology->scale;
    for (uint32_t r = 0; r < rows; ++r, y += channels) {
        const uint32_t node = first + r, begin = topology->row_pointer[node], end = topology->row_pointer[node + 1u];
        const float *const self = x + (size_t)node * channels;
        for (uint32_t c = 0, head = 0; c < channels; ++head) {
            const float *const head_weight = heads != 0u ? edge_weight + head : NULL;
            if (op->reduce == GNN_MAX || op->reduce == GNN_MIN) {
                extreme_of_head(op, topology, scale, x + c, head_weight, begin, end, head_width, y + c);
                c += head_width;
                continue;
            }
            for (const uint32_t head_end = c + head_width; c < head_end; c += GNN_LANES) {
                const uint32_t width = head_end - c < GNN_LANES ? head_end - c : GNN_LANES;
                sum_tile(op, topology, scale, x + c, head_weight, begin, end, width, y + c);
            }
            c = (head + 1u) * head_width;
        }
        if (topology->scale != NULL || op->reduce == GNN_MEAN) {
            float factor = topology->scale != NULL ? topology->scale[node] : 1.0f;
            factor = op->reduce == GNN_MEAN && end != begin ? factor / (float)(end - begin) : factor;
            for (uint32_t c = 0; c < channels; ++c) {
                y[c] *= factor;
            }
        }
        if (op->self_scale != NULL) {
            for (uint32_t c = 0; c < channels; ++c) {
                y[c] += op->self_scale[0] * self[c];
            }
        }
        gnn_finish_row_f32(y, channels, op->bias, op->relu, out_scale != NULL ? out_scale + r : NULL);
    }
}
