#include "gnn_copy.h"
#include "gnn_finish.h"
#include "gnn_kernels.h"
#include "gnn_round.h"

#define COLUMNS 128u /* columns that are quantized at a time */
#define ROWS 4u    /* rows that share a pass over the weights */

/* Codes minus their zero point of `depth` columns of a row. */
static void quantize(const float *x, uint32_t depth, float scale, int32_t zero, int16_t *codes)
{
    for (uint32_t k = 0; k < depth; ++k) {
        codes[k] = (int16_t)gnn_round_f32(x[k] / scale, -zero, 255 - zero);
    }
}

static int32_t dot(const int16_t *codes, const int8_t *weight, uint32_t depth)
{
    int32_t sum = 0;
    for (uint32_t k = 0; k < depth; ++k) {
        sum += codes[k] * weight[k];
    }
    return sum;
}

/* Sums over the columns that came before are int32 in the memory of y. */
void gnn_linear_dynamic(const gnn_linear_dynamic_layer *layer, const float range[2], const float *x, uint32_t rows,
                        const float *scale, float *y)
{
    const uint32_t in = layer->in, out = layer->out;
    const float step = (range[1] - range[0]) / 255.0f;
    const int32_t zero = step > 0.0f ? gnn_round_f32(-range[0] / step, 0, 255) : 0;
    int16_t codes[ROWS][COLUMNS];
    for (uint32_t r = 0; r < rows; r += ROWS) {
        const uint32_t count = rows - r < ROWS ? rows - r : ROWS;
        float *const block = y + (size_t)r * out;
        for (uint32_t start = 0; start < in && step > 0.0f; start += COLUMNS) {
            const uint32_t depth = in - start < COLUMNS ? in - start : COLUMNS;
            for (uint32_t i = 0; i < count; ++i) {
                quantize(x + (size_t)(r + i) * in + start, depth, step, zero, codes[i]);
            }
            for (uint32_t o = 0; o < out; ++o) {
                for (uint32_t i = 0; i < count; ++i) {
                    float *const place = block + i * out + o;
                    int32_t before = 0, sum = dot(codes[i], layer->weight + (size_t)o * in + start, depth);
                    if (start != 0u) {
                        GNN_COPY(&before, place, sizeof before);
                    }
                    sum += before;
                    GNN_COPY(place, &sum, sizeof sum);
                }
            }
        }
        for (uint32_t i = 0; i < count; ++i) {
            for (uint32_t o = 0; o < out; ++o) {
                float *const place = block + i * out + o;
                int32_t sum = 0;
                if (step > 0.0f && in != 0u) {
                    GNN_COPY(&sum, place, sizeof sum);
                }
                *place = (float)sum * (step * layer->weight_scale[o]);
            }
            gnn_finish_row_f32(block + i * out, out, layer->bias, layer->relu, scale != NULL ? scale + r + i : NULL);
        }
    }
}
