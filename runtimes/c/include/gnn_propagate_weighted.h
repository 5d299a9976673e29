/* The integer Propagate with attention weights, for either type of x. */
#ifndef GNN_PROPAGATE_WEIGHTED_H
#define GNN_PROPAGATE_WEIGHTED_H

#include "gnn_loop.h"
#include "gnn_propagate.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_WEIGHT_ONE 32767 /* what the weights of a node sum to */

/* sum[k] = sum over e of w[e * heads] * x[index[e]][c + k], k < width. `width` is a constant for full tiles. */
static GNN_INLINE void gnn_weigh_rows(const void *x, gnn_type type, uint32_t stride, uint32_t c, uint32_t width, const uint16_t *index,
                                      const int16_t *w, uint32_t heads, uint32_t count, int32_t *total)
{
    int32_t sum[GNN_LANES] = {0};
    uint32_t e, k;
    for (e = 0; e < count; ++e) {
        const size_t at = (size_t)index[e] * stride + c;
        const int32_t weight = w[(size_t)e * heads];
        GNN_VECTOR_LOOP
        for (k = 0; k < width; ++k) {
            sum[k] += weight * gnn_load_code(x, type, at + k);
        }
    }
    for (k = 0; k < width; ++k) {
        total[k] = sum[k];
    }
}

static GNN_INLINE void gnn_propagate_weighted_block(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const void *x,
                                                    gnn_type x_type, const int16_t *edge_weight, uint32_t first, uint32_t rows,
                                                    gnn_type y_type, void *y, uint32_t y_stride)
{
    const uint32_t channels = op->channels, heads = op->heads, head_width = channels / heads;
    gnn_scale scale;
    uint32_t r, h, c, k;
    gnn_set_scale(&scale, &op->requant, 0, GNN_NO_FACTOR);
    for (r = 0; r < rows; ++r) {
        const uint32_t begin = topology->row_pointer[first + r], count = topology->row_pointer[first + r + 1u] - begin;
        const uint16_t *const index = topology->source + begin;
        const int32_t zeros = count == 0u ? 0 : GNN_WEIGHT_ONE * op->zero_point;
        for (h = 0; h < heads; ++h) {
            const int16_t *const weight = edge_weight + (size_t)begin * heads + h;
            for (c = 0; c < head_width; c += GNN_LANES) {
                const uint32_t width = head_width - c < GNN_LANES ? head_width - c : GNN_LANES;
                int32_t total[GNN_LANES];
                if (width == GNN_LANES) {
                    gnn_weigh_rows(x, x_type, channels, h * head_width + c, GNN_LANES, index, weight, heads, count, total);
                } else {
                    gnn_weigh_rows(x, x_type, channels, h * head_width + c, width, index, weight, heads, count, total);
                }
                for (k = 0; k < width; ++k) {
                    const uint32_t channel = h * head_width + c + k;
                    const int32_t sum = total[k] - zeros;
                    const int32_t code = op->bias == NULL ? gnn_requantized(&scale, sum)
                                                          : gnn_biased_code(&op->requant, sum, op->requant.multiplier[0], op->bias[channel]);
                    gnn_store_code(y, y_type, (size_t)r * y_stride + channel, code);
                }
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
