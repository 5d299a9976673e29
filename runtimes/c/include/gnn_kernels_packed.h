/* Linears whose weights are stored as indices of a codebook, or without their zeros. They compute what the dense ones compute, bit for bit, from
 * a part of the weights at a time. */
#ifndef GNN_KERNELS_PACKED_H
#define GNN_KERNELS_PACKED_H

#include "gnn_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Integer: as gnn_linear_s8 and gnn_linear_s16, with other weights. Rows of in_padded codes in the order of gnn_linear_layer, each from a byte of
 * its own on:
 *  - codebook: 2^weight_bits codes (int8), then rows of indices of weight_bits (1 to 8) bits, low bits first;
 *  - bitmap: a row is one bit per unit of weight_bits / 8 codes (1 or 4), low bits first, then the units whose bit is 1.
 * scratch: panel * in_padded bytes on 4 bytes, for `panel` output channels at a time. */
GNN_KERNEL void gnn_linear_codebook_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                       int8_t *y, int8_t *scratch, uint32_t panel);
GNN_KERNEL void gnn_linear_codebook_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                        int16_t *y, uint32_t y_stride, int8_t *scratch, uint32_t panel);
GNN_KERNEL void gnn_linear_bitmap_s8(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                     int8_t *y, int8_t *scratch, uint32_t panel);
GNN_KERNEL void gnn_linear_bitmap_s16(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                      int16_t *y, uint32_t y_stride, int8_t *scratch, uint32_t panel);

/* Float: as gnn_linear_f32. For every eight outputs (the last may be fewer) and every k a group of eight weights, from a byte of its own on:
 *  - codebook: eight indices into `values` of index_bits (1 to 8) bits, low bits first;
 *  - bitmap: one bit each; `values` are those whose bit is 1, one after another;
 *  - half: eight finite numbers of IEEE 754 binary16, low bytes first; index_bits is 16 and `values` is not read. */
typedef struct gnn_linear_packed_f32_layer {
    const uint8_t *index;
    const float *values;
    const float *bias; /* [out] or NULL */
    uint16_t in, out;
    uint8_t index_bits, relu;
} gnn_linear_packed_f32_layer;
GNN_KERNEL void gnn_linear_codebook_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale,
                                        float *y);
GNN_KERNEL void gnn_linear_bitmap_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale,
                                      float *y);
GNN_KERNEL void gnn_linear_half_f32(const gnn_linear_packed_f32_layer *layer, const float *x, uint32_t rows, const float *scale, float *y);

#ifdef __cplusplus
}
#endif
#endif
