/* A block of rows of the integer Linear; gnn_linear_s8, _s16 and _s32 are its three output types. */
#ifndef GNN_LINEAR_H
#define GNN_LINEAR_H

#include "gnn_copy.h"
#include "gnn_requantize.h"
#include "gnn_unpack.h"

#ifdef __cplusplus
extern "C" {
#endif

/* in, rounded up to what weights and x are padded to. */
static GNN_INLINE uint32_t gnn_padded(uint32_t in)
{
    return (in + 3u) & ~3u;
}

/* Of the layer, or of all layers. */
static GNN_INLINE uint32_t gnn_weight_bits(const gnn_linear_layer *layer)
{
    if (GNN_USES_WEIGHTS_OF_8_BITS + GNN_USES_WEIGHTS_OF_4_BITS + GNN_USES_WEIGHTS_OF_2_BITS != 1) {
        return layer->weight_bits;
    }
    return GNN_USES_WEIGHTS_OF_8_BITS ? 8u : GNN_USES_WEIGHTS_OF_4_BITS ? 4u : 2u;
}

/* Whether bias and shift are one number. */
static GNN_INLINE int gnn_has_terms(const gnn_linear_layer *layer)
{
    return GNN_USES_TERMS && layer->terms != NULL;
}

static GNN_INLINE int32_t gnn_bias(const gnn_linear_layer *layer, uint32_t c)
{
    return gnn_has_terms(layer) ? layer->terms[c] >> 4 : layer->bias[c];
}

static GNN_INLINE uint32_t gnn_shift(const gnn_linear_layer *layer, uint32_t c)
{
    return gnn_has_terms(layer) ? layer->requant.shift[0] + ((uint32_t)layer->terms[c] & 15u) : layer->requant.shift[c];
}

/* The weights of an output channel, in scratch if they had to be unpacked. */
static GNN_INLINE const int8_t *gnn_weights(const gnn_linear_layer *layer, uint32_t c, int8_t *scratch)
{
    const uint32_t in = gnn_padded(layer->in), bits = gnn_weight_bits(layer);
    const uint8_t *const row = layer->weight + (size_t)c * (in * bits / 8u);
    if (bits == 8u) {
        return (const int8_t *)row;
    }
    gnn_unpack(row, bits, in, scratch);
    return scratch;
}

#ifdef __cplusplus
}
#endif

#if defined(GNN_MVE)
#include "gnn_linear_mve.h"
#elif defined(GNN_DSP)
#include "gnn_linear_dsp.h"
#elif defined(GNN_X86)
#include "gnn_linear_x86.h"
#else
#include "gnn_linear_plain.h"
#endif

#endif
