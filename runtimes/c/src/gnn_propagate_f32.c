#include "gnn_float.h"
#include "gnn_kernels.h"
#include "gnn_loop.h"
#include "gnn_sum.h"

/* Coefficient of one edge: w h r. */
static inline float coefficient(const gnn_topology *topology, const float *scale, const float *head_weight, uint32_t heads, uint32_t e)
{
    float product = scale != NULL ? scale[topology->source[e]] : 1.0f;
    product = topology->weight != NULL ? product * topology->weight[e] : product;
    return head_weight != NULL ? product * head_weight[(size_t)e * heads] : product;
}

/* y[0..width) = reduced messages of the edges begin .. end; width is at most GNN_LANES, and a constant in the call for full tiles. x points at the first
 * channel of node 0, head_weight at the head's weight of edge 0. */
static inline void reduce_tile(const gnn_propagate_f32_op *op, const gnn_topology *topology, const float *scale, const float *x,
                               const float *head_weight, uint32_t begin, uint32_t end, uint32_t width, float *y)
{
    const int plain = scale == NULL && topology->weight == NULL && head_weight == NULL;
    float error[GNN_LANES] = {0};
    for (uint32_t o = 0; o < width; ++o) {
        y[o] = 0.0f;
    }
    if (op->reduce == GNN_MAX || op->reduce == GNN_MIN) {
        const float sign = op->reduce == GNN_MAX ? 1.0f : -1.0f; /* a minimum is the maximum of the opposites */
        for (uint32_t e = begin; e < end; ++e) {
            const float factor = sign * coefficient(topology, scale, head_weight, op->heads, e);
            const float *const row = x + (size_t)topology->source[e] * op->channels;
            for (uint32_t o = 0; o < width; ++o) {
                const float message = factor * row[o];
                y[o] = e == begin || message > y[o] ? message : y[o];
            }
        }
        for (uint32_t o = 0; o < width; ++o) {
            y[o] *= sign;
        }
        return;
    }
    for (uint32_t e = begin; e < end;) {
        const uint32_t stop = end - e < GNN_SUM_BLOCK ? end : e + GNN_SUM_BLOCK;
        float sums[GNN_LANES] = {0};
        if (plain) {
            for (; e < stop; ++e) {
                const float *const row = x + (size_t)topology->source[e] * op->channels;
                GNN_VECTOR_LOOP
                for (uint32_t o = 0; o < width; ++o) {
                    sums[o] += row[o];
                }
            }
        } else {
            for (; e < stop; ++e) {
                const float factor = coefficient(topology, scale, head_weight, op->heads, e);
                const float *const row = x + (size_t)topology->source[e] * op->channels;
                GNN_VECTOR_LOOP
                for (uint32_t o = 0; o < width; ++o) {
                    sums[o] += factor * row[o];
                }
            }
        }
        for (uint32_t o = 0; o < width; ++o) {
            gnn_add_compensated(y + o, error + o, sums[o]);
        }
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
        float factor = topology->scale != NULL ? topology->scale[node] : 1.0f;
        for (uint32_t c = 0, head = 0; c < channels; ++head) {
            const float *const head_weight = heads != 0u ? edge_weight + head : NULL;
            for (const uint32_t head_end = c + head_width; c < head_end;) {
                if (head_end - c >= GNN_LANES) {
                    reduce_tile(op, topology, scale, x + c, head_weight, begin, end, GNN_LANES, y + c);
                    c += GNN_LANES;
                } else {
                    reduce_tile(op, topology, scale, x + c, head_weight, begin, end, head_end - c, y + c);
                    c = head_end;
                }
            }
        }
        if (op->reduce == GNN_MEAN && end != begin) {
            factor /= (float)(end - begin);
        }
        for (uint32_t c = 0; c < channels; ++c) {
            float value = factor * y[c];
            value = op->self_scale != NULL ? value + op->self_scale[0] * self[c] : value;
            value = op->bias != NULL ? value + op->bias[c] : value;
            value = op->relu ? gnn_relu(value) : value;
            y[c] = out_scale != NULL ? value * out_scale[r] : value;
        }
    }
}
