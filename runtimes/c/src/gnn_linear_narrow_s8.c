/* In: rows of sixteen codes of 16 bits. Out: int8 codes of a Linear. */
#include "gnn_linear_narrow_dsp.h"
#include "gnn_requantize.h"

void gnn_linear_narrow_s8(const gnn_linear_narrow_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor, int8_t *y)
{
    const uint32_t out = layer->out;
    const int16_t *const end = x + (size_t)rows * GNN_NARROW;
#if defined(GNN_DSP)
    gnn_narrow narrow;
    narrow.channel = layer->channel;
    for (; x != end; x += GNN_NARROW) {
        narrow.x = x;
        narrow.y = y;
        y += out;
        narrow.y_end = y;
        if (row_factor == NULL) {
            gnn_narrow_row(&narrow);
        } else {
            narrow.factor = (int32_t)((uint32_t)*row_factor++ * 2u);
            if (narrow.factor < 0) {
                gnn_narrow_row_large(&narrow);
            } else {
                gnn_narrow_row_small(&narrow);
            }
        }
    }
#else
    for (; x != end; x += GNN_NARROW) {
        const int32_t factor = row_factor == NULL ? GNN_NO_FACTOR : *row_factor++;
        uint32_t c, k;
        for (c = 0; c < out; ++c) {
            const gnn_narrow_channel *const of = layer->channel + c;
            const int32_t m = factor < 0 ? of->multiplier : gnn_srdhm(of->multiplier, factor);
            uint32_t acc = (uint32_t)of->bias;
            for (k = 0; k < GNN_NARROW / 2u; ++k) {
                acc += (uint32_t)(x[k] * of->first[k]) + (uint32_t)(x[GNN_NARROW / 2u + k] * of->second[k]);
            }
            *y++ = (int8_t)gnn_clamp(gnn_add_high(of->rounding, (int32_t)acc, m) >> of->shift, -128, 127);
        }
    }
#endif
}
