/* One sum over neighbours by the kernels that models call, for all nodes of a graph. For propagation_study. */
#include "gnn_kernels_f32.h"
#include "gnn_kernels_integer.h"

#ifdef _WIN32
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

static gnn_propagate_op integer_op(uint16_t channels, const int32_t *multiplier, const uint8_t *shift, uint8_t left_shift, int16_t most)
{
    const gnn_requant requant = {multiplier, shift, 0, left_shift, 0, (int16_t)-most, most};
    const gnn_propagate_op op = {channels, 0, GNN_SUM, GNN_FACTOR_NONE, 0, 0, NULL, requant};
    return op;
}

EXPORTED void sum_f32(uint32_t *row_pointer, uint16_t *source, uint32_t nodes, uint16_t channels, const float *x, float *y)
{
    const gnn_topology topology = {row_pointer, source, NULL, NULL, NULL, NULL};
    const gnn_propagate_f32_op op = {channels, 0, GNN_SUM, 0, 0, NULL, NULL};
    gnn_propagate_f32(&op, &topology, x, NULL, NULL, 0, nodes, y);
}

EXPORTED void sum_s8(uint32_t *row_pointer, uint16_t *source, uint32_t nodes, uint16_t channels, const int8_t *x, int8_t *y,
                     const int32_t *multiplier, const uint8_t *shift, uint8_t left_shift, int32_t *scratch)
{
    const gnn_topology topology = {row_pointer, source, NULL, NULL, NULL, NULL};
    const gnn_propagate_op op = integer_op(channels, multiplier, shift, left_shift, 127);
    gnn_propagate_s8_s8(&op, &topology, x, 0, nodes, y, channels, scratch);
}

EXPORTED void sum_s16(uint32_t *row_pointer, uint16_t *source, uint32_t nodes, uint16_t channels, const int16_t *x, int16_t *y,
                      const int32_t *multiplier, const uint8_t *shift, uint8_t left_shift, int32_t *scratch)
{
    const gnn_topology topology = {row_pointer, source, NULL, NULL, NULL, NULL};
    const gnn_propagate_op op = integer_op(channels, multiplier, shift, left_shift, 32767);
    gnn_propagate_s16_s16(&op, &topology, x, 0, nodes, y, channels, scratch);
}
