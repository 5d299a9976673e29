#include "gnn_finish.h"
#include "gnn_kernels.h"
#include "gnn_loop.h"
#include "gnn_variant.h"

#define DEPTH 256u /* terms that are summed plainly before they join the sums of the others, see gnn_sum.h */

static inline void add(const float *sums, float *y)
{
    for (uint32_t o = 0; o < GNN_LANES_OF_FOUR; ++o) {
        y[o] += sums[o];
    }
}

/* Adds the products of `depth` columns to GNN_LANES_OF_FOUR outputs of four rows. weight and y point at the first of the outputs. */
static GNN_INLINE void four_rows(const float *x, uint32_t in, uint32_t depth, const float *weight, uint32_t out, float *y)
{
    float s0[GNN_LANES_OF_FOUR] = {0}, s1[GNN_LANES_OF_FOUR] = {0}, s2[GNN_LANES_OF_FOUR] = {0}, s3[GNN_LANES_OF_FOUR] = {0};
    for (uint32_t k = 0; k < depth; ++k, weight += out) {
        const float x0 = x[k], x1 = x[in + k], x2 = x[2u * in + k], x3 = x[3u * in + k];
        GNN_VECTOR_LOOP
        for (uint32_t o = 0; o < GNN_LANES_OF_FOUR; ++o) {
            const float w = weight[o];
            s0[o] += x0 * w;
            s1[o] += x1 * w;
            s2[o] += x2 * w;
            s3[o] += x3 * w;
        }
    }
    add(s0, y);
    add(s1, y + out);
    add(s2, y + 2u * out);
    add(s3, y + 3u * out);
}

/* The same for one row and `width` outputs, which is constant in the call for a full tile. */
static GNN_INLINE void one_row(const float *x, uint32_t depth, const float *weight, uint32_t out, uint32_t width, float *y)
{
    float sums[GNN_LANES_OF_FOUR] = {0};
    for (uint32_t k = 0; k < depth; ++k, weight += out) {
        GNN_VECTOR_LOOP
        for (uint32_t o = 0; o < width; ++o) {
            sums[o] += x[k] * weight[o];
        }
    }
    for (uint32_t o = 0; o < width; ++o) {
        y[o] += sums[o];
    }
}

void gnn_linear_f32(const gnn_linear_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y)
{
    const uint32_t in = layer->in, out = layer->out;
    for (uint32_t r = 0; r < rows;) {
        const uint32_t count = rows - r < 4u ? 1u : 4u;
        for (uint32_t i = 0; i < count * out; ++i) {
            y[i] = 0.0f;
        }
        for (uint32_t k = 0; k < in; k += DEPTH) {
            const uint32_t depth = in - k < DEPTH ? in - k : DEPTH;
            for (uint32_t first = 0; first < out; first += GNN_LANES_OF_FOUR) {
                const float *const weight = layer->weight + (size_t)k * out + first;
                const uint32_t width = out - first < GNN_LANES_OF_FOUR ? out - first : GNN_LANES_OF_FOUR;
                if (width < GNN_LANES_OF_FOUR) {
                    for (uint32_t i = 0; i < count; ++i) {
                        one_row(x + (size_t)i * in + k, depth, weight, out, width, y + (size_t)i * out + first);
                    }
                } else if (count == 4u) {
                    four_rows(x + k, in, depth, weight, out, y + first);
                } else {
                    one_row(x + k, depth, weight, out, GNN_LANES_OF_FOUR, y + first);
                }
            }
        }
        x += (size_t)count * in;
        for (const uint32_t end = r + count; r < end; ++r, y += out) {
            gnn_finish_row_f32(y, out, layer->bias, layer->relu, scale != NULL ? scale + r : NULL);
        }
    }
}
