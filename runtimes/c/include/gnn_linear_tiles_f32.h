/* The float Linear on packed weights: a tile of them is unpacked on the stack. Sums are in the order of gnn_linear_f32, so they are the same. */
#ifndef GNN_LINEAR_TILES_F32_H
#define GNN_LINEAR_TILES_F32_H

#include "gnn_finish.h"
#include "gnn_kernels_packed.h"
#include "gnn_variant.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_GROUP 8u        /* outputs of a tile, whose weights are stored together */
#define GNN_TILE_DEPTH 16u  /* columns of a tile */
#define GNN_SUM_DEPTH 256u  /* columns that are summed plainly before they join the sums of the others, as in gnn_linear_f32 */

/* What comes next of the packed weights. */
typedef struct gnn_packed_place {
    const uint8_t *index;
    const float *values;
} gnn_packed_place;

/* Unpacks one group of weights. */
typedef void gnn_decode_f32(gnn_packed_place *place, uint32_t index_bits, float *y);

/* Eight outputs from `first` on of `rows` rows, which is constant in the call. */
static GNN_INLINE void gnn_tile_rows_f32(const gnn_linear_packed_f32_layer *layer, gnn_packed_place *place, gnn_decode_f32 *decode,
                                         const float *x, uint32_t rows, uint32_t first, float *y)
{
    const uint32_t in = layer->in, out = layer->out, width = out - first < GNN_GROUP ? out - first : GNN_GROUP;
    float tile[GNN_TILE_DEPTH][GNN_GROUP], sums[4][GNN_GROUP];
    uint32_t i, k, o, start, at;
    for (i = 0; i < rows; ++i) {
        for (o = 0; o < width; ++o) {
            y[(size_t)i * out + first + o] = 0.0f;
        }
    }
    for (start = 0; start < in; start += GNN_SUM_DEPTH) {
        const uint32_t end = in - start < GNN_SUM_DEPTH ? in : start + GNN_SUM_DEPTH;
        for (i = 0; i < rows; ++i) {
            for (o = 0; o < GNN_GROUP; ++o) {
                sums[i][o] = 0.0f;
            }
        }
        for (at = start; at < end; at += GNN_TILE_DEPTH) {
            const uint32_t depth = end - at < GNN_TILE_DEPTH ? end - at : GNN_TILE_DEPTH;
            for (k = 0; k < depth; ++k) {
                decode(place, layer->index_bits, tile[k]);
            }
            for (i = 0; i < rows; ++i) {
                const float *const row = x + (size_t)i * in + at;
                for (k = 0; k < depth; ++k) {
                    for (o = 0; o < GNN_GROUP; ++o) {
                        sums[i][o] += row[k] * tile[k][o];
                    }
                }
            }
        }
        for (i = 0; i < rows; ++i) {
            for (o = 0; o < width; ++o) {
                y[(size_t)i * out + first + o] += sums[i][o];
            }
        }
    }
}

static GNN_INLINE void gnn_linear_tiles_f32(const gnn_linear_packed_f32_layer *layer, gnn_decode_f32 *decode, const float *x, uint32_t rows,
                                            const float *scale, float *y)
{
    const uint32_t in = layer->in, out = layer->out;
    uint32_t r = 0, i, first;
    while (r < rows) {
        const uint32_t count = rows - r < 4u ? 1u : 4u;
        gnn_packed_place place;
        place.index = layer->index;
        place.values = layer->values;
        for (first = 0; first < out; first += GNN_GROUP) {
            gnn_tile_rows_f32(layer, &place, decode, x, count, first, y);
        }
        for (i = 0; i < count; ++i, ++r, x += in, y += out) {
            gnn_finish_row_f32(y, out, layer->bias, layer->relu, scale != NULL ? scale + r : NULL);
        }
    }
}

#ifdef __cplusplus
}
#endif
#endif
