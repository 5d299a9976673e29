/* The integer Propagate with attention weights, for either type of x. */
#ifndef GNN_PROPAGATE_WEIGHTED_H
#define GNN_PROPAGATE_WEIGHTED_H

#include "gnn_late_bias.h"
#include "gnn_loop.h"
#include "gnn_propagate.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_WEIGHT_ONE 32767 /* what the weights of a node sum to */

/* Columns that are summed at a time: 4 in the registers of a microcontroller, 8 in the vectors of others. */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_MOST_WEIGHED 4u
#else
#define GNN_MOST_WEIGHED 8u
#endif

/* The in-edges of one node and one head. */
typedef struct gnn_weighed {
    const void *x; /* rows of all nodes */
    const uint16_t *index; /* sources */
    const int16_t *weight; /* every heads-th belongs to this head */
    uint32_t channels, heads, count;
} gnn_weighed;

/* total[k] = sum over e of w_e (x[index[e]][c + k] - zero_point), k < width, a constant; zeros is what the zero point adds up to. */
static GNN_INLINE void gnn_weigh_tile(const gnn_weighed *edges, gnn_type type, uint32_t c, uint32_t width, int32_t zeros, int32_t *total)
{
    const void *const x = edges->x;
    const uint16_t *index = edges->index;
    const int16_t *weight = edges->weight;
    const uint32_t channels = edges->channels, heads = edges->heads;
    int32_t sum[GNN_MOST_WEIGHED];
    uint32_t e, k;
    GNN_VECTOR_LOOP
    for (k = 0; k < width; ++k) {
        sum[k] = -zeros;
    }
    for (e = edges->count; e != 0u; --e) {
        const size_t at = (size_t)*index++ * channels + c;
        const int32_t w = *weight;
        GNN_VECTOR_LOOP
        for (k = 0; k < width; ++k) {
            sum[k] += w * gnn_load_code(x, type, at + k);
        }
        weight += heads;
    }
    GNN_VECTOR_LOOP
    for (k = 0; k < width; ++k) {
        total[k] = sum[k];
    }
}

static GNN_INLINE void gnn_propagate_weighted_block(const gnn_propagate_weighted_op *op, const gnn_topology *topology, const void *x,
                                                    gnn_type x_type, const int16_t *edge_weight, uint32_t first, uint32_t rows,
                                                    gnn_type y_type, void *y, uint32_t y_stride)
{
    const uint32_t head_width = (uint32_t)op->channels / op->heads, y_bytes = y_type == GNN_S8 ? 1u : 2u;
    const uint32_t width = head_width >= GNN_MOST_WEIGHED ? GNN_MOST_WEIGHED : head_width >= 4u ? 4u : 1u;
    gnn_weighed edges;
    gnn_scale scale;
    uint32_t r, h, c, k;
    gnn_set_scale(&scale, &op->requant, 0, GNN_NO_FACTOR);
    edges.x = x;
    edges.channels = op->channels;
    edges.heads = op->heads;
    for (r = 0; r < rows; ++r) {
        const uint32_t begin = topology->row_pointer[first + r];
        edges.count = topology->row_pointer[first + r + 1u] - begin;
        edges.index = topology->source + begin;
        for (h = 0; h < op->heads; ++h) {
            const int32_t zeros = edges.count == 0u ? 0 : GNN_WEIGHT_ONE * op->zero_point;
            edges.weight = edge_weight + (size_t)begin * op->heads + h;
            for (c = 0; c < head_width; c += width) {
                int32_t total[GNN_MOST_WEIGHED];
                uint32_t channel;
                if (c + width > head_width) {
                    c = head_width - width; /* the last tile overlaps the one before */
                }
                channel = h * head_width + c;
                if (width == GNN_MOST_WEIGHED) {
                    gnn_weigh_tile(&edges, x_type, channel, GNN_MOST_WEIGHED, zeros, total);
                } else if (width == 4u) {
                    gnn_weigh_tile(&edges, x_type, channel, 4u, zeros, total);
                } else {
                    gnn_weigh_tile(&edges, x_type, channel, 1u, zeros, total);
                }
                if (op->bias == NULL) {
                    gnn_store_codes(&scale, total, width, y_type, (uint8_t *)y + ((size_t)r * y_stride + channel) * y_bytes);
                }
                for (k = 0; op->bias != NULL && k < width; ++k) {
                    const int32_t code = gnn_late_code(&op->requant, total[k], op->requant.multiplier[0], op->bias[channel + k]);
                    gnn_store_code(y, y_type, (size_t)r * y_stride + channel + k, code);
                }
            }
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
