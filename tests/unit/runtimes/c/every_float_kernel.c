/* Runs every float kernel on numbers that are the same on every target, and records a hash of the bits of what each one computes. */
#include "gnn_kernels.h"

#define NODES 40u
#define EDGES 150u
#define GRAPHS 3u
#define CHANNELS 36u
#define ROOM (NODES * CHANNELS * 4u)
#define RECORDS 64u

/* The result: number of records, then their hashes. Names are in the order of the calls of record() below. */
uint32_t every_float_kernel_hashes[RECORDS + 1u];
void every_float_kernel(void);

static uint32_t state;
static float numbers_a[ROOM], numbers_b[ROOM], result[ROOM], error[ROOM], weight[64u * CHANNELS];
static uint16_t source[EDGES], target[EDGES], batch[NODES], prepared_source[EDGES + NODES], targets[EDGES + NODES];
static float edge_weight[EDGES], prepared_weight[EDGES + NODES], scale[NODES];
static uint32_t row_pointer[NODES + 1u], origin[EDGES + NODES], graph_pointer[GRAPHS + 1u], counts[NODES];
static int32_t row_factor[NODES];
static int8_t codes[64u * CHANNELS];

static uint32_t random_bits(void)
{
    state = state * 1664525u + 1013904223u;
    return state >> 8;
}

/* A multiple of 2^-20 in [-2, 2): no rounding. */
static float random_number(void)
{
    return (float)((int32_t)(random_bits() & 0x3FFFFFu) - 0x200000) * (1.0f / 1048576.0f);
}

static void fill(float *x, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        x[i] = random_number();
    }
}

static void record(const void *x, size_t bytes)
{
    const unsigned char *const memory = (const unsigned char *)x;
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < bytes; ++i) {
        hash = (hash ^ memory[i]) * 16777619u;
    }
    every_float_kernel_hashes[++every_float_kernel_hashes[0]] = hash;
}

static void record_prepare(uint32_t weighted, gnn_self_loops loops, gnn_topology *topology)
{
    const gnn_topology_spec spec = {loops, 1.0f, GNN_SYMMETRIC, (uint8_t)weighted, 0, 0};
    const gnn_graph graph = {NODES, EDGES, GRAPHS, source, target, batch, edge_weight, NULL};
    gnn_status status = gnn_prepare_topology(&spec, &graph, EDGES + NODES, EDGES + NODES, topology);
    if (status == GNN_OK) {
        status = gnn_prepare_scale(&spec, NODES, topology);
    }
    record(&status, sizeof(uint8_t));
    record(scale, sizeof scale);
    record(row_factor, sizeof row_factor);
    record(prepared_weight, sizeof(float) * row_pointer[NODES]);
    gnn_prepare_graphs(&graph, graph_pointer);
}

static void record_linear(void)
{
    const gnn_linear_f32_layer layer = {weight, numbers_b, 35u, 21u, 1};
    const gnn_linear_packed_f32_layer packed = {(const uint8_t *)codes, weight, numbers_b, 35u, 21u, 3u, 0};
    const gnn_linear_packed_f32_layer halves = {(const uint8_t *)codes, NULL, numbers_b, 35u, 21u, 16u, 0};
    const gnn_linear_dynamic_layer dynamic = {codes, scale, numbers_b, 35u, 21u, 0};
    static const uint32_t x_pointer[4] = {0, 3, 3, 6};
    static const uint16_t x_index[6] = {1, 5, 34, 0, 2, 3};
    float range[2];
    gnn_linear_f32(&layer, numbers_a, 11u, scale, result);
    record(result, sizeof(float) * 11u * 21u);
    gnn_linear_codebook_f32(&packed, numbers_a, 11u, scale, result);
    record(result, sizeof(float) * 11u * 21u);
    gnn_linear_bitmap_f32(&packed, numbers_a, 11u, scale, result);
    record(result, sizeof(float) * 11u * 21u);
    gnn_linear_half_f32(&halves, numbers_a, 11u, scale, result);
    record(result, sizeof(float) * 11u * 21u);
    gnn_linear_sparse_f32(&layer, x_pointer, x_index, 0, 3u, NULL, result);
    record(result, sizeof(float) * 3u * 21u);
    gnn_range_f32(numbers_a, 11u * 35u, range);
    record(range, sizeof range);
    gnn_linear_dynamic(&dynamic, range, numbers_a, 11u, NULL, result);
    record(result, sizeof(float) * 11u * 21u);
}

static void record_propagate(const gnn_topology *topology, gnn_reduce reduce, uint16_t heads)
{
    const gnn_propagate_f32_op op = {CHANNELS, heads, reduce, 0, 0, numbers_b, numbers_b + 1};
    gnn_propagate_f32(&op, topology, numbers_a, heads != 0u ? numbers_b : NULL, NULL, 0, NODES, result);
    record(result, sizeof(float) * NODES * CHANNELS);
}

static void record_collect(gnn_reduce reduce)
{
    const uint32_t rows = row_pointer[NODES], channels = 5u;
    gnn_targets(row_pointer, 0, 0, rows, targets);
    gnn_aggregate_start_f32(reduce, NODES, channels, result, counts, error);
    gnn_aggregate_f32(reduce, numbers_a, targets, rows, channels, result, counts, error);
    gnn_aggregate_finish_f32(reduce, NODES, channels, result, counts);
    record(result, sizeof(float) * NODES * channels);
    gnn_pool_start_f32(reduce, GRAPHS, CHANNELS, result, error);
    gnn_pool_f32(reduce, numbers_a, graph_pointer, GRAPHS, 0, NODES, CHANNELS, result, error);
    gnn_pool_finish_f32(reduce, graph_pointer, GRAPHS, CHANNELS, result);
    record(result, sizeof(float) * GRAPHS * CHANNELS);
}

static void record_rows(void)
{
    const uint32_t count = NODES * CHANNELS;
    const gnn_layer_norm_op norm = {numbers_b, numbers_b + CHANNELS, CHANNELS, 0, 1e-5f};
    float statistics[2u * GRAPHS];
    for (uint32_t function = GNN_RELU; function <= GNN_STEP; ++function) {
        gnn_activation_f32((gnn_function)function, 0.3f, numbers_a, count, result);
        record(result, sizeof(float) * count);
    }
    for (uint32_t kind = GNN_ADD; kind <= GNN_MAXIMUM; ++kind) {
        gnn_binary_f32((gnn_binary)kind, numbers_a, CHANNELS, CHANNELS, numbers_b, CHANNELS, 0, NODES, CHANNELS, 0, result);
        record(result, sizeof(float) * count);
    }
    for (uint32_t log = 0; log < 2u; ++log) {
        gnn_log_softmax_f32(numbers_a, NODES, CHANNELS, log, result);
        record(result, sizeof(float) * count);
    }
    gnn_edge_softmax_f32(row_pointer, NODES, 2u, numbers_a, result);
    record(result, sizeof(float) * 2u * row_pointer[NODES]);
    gnn_head_dot_f32(numbers_a, numbers_b, NODES, 4u, 9u, result);
    record(result, sizeof(float) * NODES * 4u);
    gnn_head_mean_f32(numbers_a, NODES, 4u, 9u, result);
    record(result, sizeof(float) * NODES * 9u);
    gnn_affine_f32(numbers_a, numbers_b, numbers_b + CHANNELS, NODES, CHANNELS, result);
    record(result, sizeof(float) * count);
    gnn_layer_norm_f32(&norm, numbers_a, NODES, result);
    record(result, sizeof(float) * count);
    gnn_graph_statistics_f32(&norm, numbers_a, graph_pointer, GRAPHS, statistics);
    gnn_graph_norm_f32(&norm, statistics, graph_pointer, GRAPHS, numbers_a, 0, NODES, result);
    record(result, sizeof(float) * count);
}

void every_float_kernel(void)
{
    gnn_topology topology = {row_pointer, prepared_source, row_factor, scale, prepared_weight, origin};
    state = 1u;
    every_float_kernel_hashes[0] = 0;
    fill(numbers_a, ROOM);
    fill(numbers_b, ROOM);
    fill(weight, 64u * CHANNELS);
    for (uint32_t i = 0; i < 64u * CHANNELS; ++i) {
        codes[i] = (int8_t)((int32_t)(random_bits() % 255u) - 127);
    }
    for (uint32_t i = 0; i < NODES; ++i) {
        batch[i] = (uint16_t)(i / 14u);
    }
    for (uint32_t e = 0; e < EDGES; ++e) { /* node 0 is a hub with more in-edges than a block of a sum */
        source[e] = (uint16_t)(random_bits() % NODES);
        target[e] = (uint16_t)(e < 100u ? 0u : random_bits() % NODES);
        edge_weight[e] = random_number() + 2.5f;
    }
    record_prepare(1u, GNN_KEEP, &topology);
    record_prepare(0u, GNN_REPLACE, &topology);
    record_prepare(1u, GNN_REMAINING, &topology);
    record_linear();
    for (uint32_t reduce = GNN_SUM; reduce <= GNN_MIN; ++reduce) {
        record_propagate(&topology, (gnn_reduce)reduce, 0u);
        record_propagate(&topology, (gnn_reduce)reduce, 4u);
        record_collect((gnn_reduce)reduce);
    }
    record_rows();
    gnn_edge_attr_f32(numbers_a, 3u, &topology, targets, 0, row_pointer[NODES], result);
    record(result, sizeof(float) * 3u * row_pointer[NODES]);
}
