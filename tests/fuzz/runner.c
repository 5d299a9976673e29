/* Reads inputs from stdin in bulk, runs the model on each, and writes the statuses and outputs to stdout.
 *
 * Every array is copied into memory of exactly its size, so that a sanitizer sees any access beyond it; the arrays of the
 * edges are freed after prepare(). MODEL is the descriptor; STRUCT and flag macros come from hostile_inputs.py.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gnn.h"

#define MAX_OUTPUTS 4
#define SECTIONS 9
#define UNWRITTEN 0x7fc0dead /* a NaN that no model computes */

extern const gnn_model MODEL;

typedef struct record {
    uint32_t num_nodes, num_edges, num_graphs, nodes_given, edges_given, flags, arena_bytes, arena_offset, run_bytes, corrupt_at,
        corrupt_with, rows[MAX_OUTPUTS];
} record;

static uint32_t current; /* the input that is being run, for the report of a crash */

#if defined(HAS_SANITIZER)
void __sanitizer_set_death_callback(void (*callback)(void));
static void report(void)
{
    fprintf(stderr, "while running input %u of the chunk\n", (unsigned)current);
}
#endif

static void stop(const char *why)
{
    fprintf(stderr, "input %u of the chunk: %s\n", (unsigned)current, why);
    exit(3);
}

static void *room(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL && bytes != 0) {
        stop("out of memory");
    }
    return memory;
}

/* The next `bytes` of a section, in memory of their own. */
static void *take(unsigned char **section, size_t bytes)
{
    void *copy = room(bytes);
    if (bytes != 0) {
        memcpy(copy, *section, bytes);
    }
    *section += bytes;
    return copy;
}

static void read_exactly(void *to, size_t bytes)
{
    if (bytes != 0 && fread(to, 1, bytes, stdin) != bytes) {
        stop("the chunk ends early");
    }
}

typedef struct sink_state {
    float **values;
    const uint32_t *rows;
} sink_state;

static void sink(void *context, uint32_t output, uint32_t first_row, uint32_t rows, const float *values)
{
    const sink_state *state = context;
    if (output >= MODEL.num_outputs || rows > state->rows[output] || first_row > state->rows[output] - rows) {
        stop("the sink got rows that the output does not have");
    }
    memcpy(state->values[output] + (size_t)first_row * MODEL.outputs[output].channels, values,
           (size_t)rows * MODEL.outputs[output].channels * sizeof(float));
}

static void allocate_outputs(const record *r, float **values)
{
    uint32_t i;
    size_t k;
    for (i = 0; i < MODEL.num_outputs; i++) {
        const size_t count = (size_t)r->rows[i] * MODEL.outputs[i].channels;
        const uint32_t unwritten = UNWRITTEN;
        values[i] = room(count * sizeof(float));
        for (k = 0; k < count; k++) {
            memcpy(&values[i][k], &unwritten, sizeof unwritten);
        }
    }
}

/* Leaves another graph of the model in the arena. */
static void prepare_another(void *arena, size_t bytes)
{
    gnn_graph graph = {1, 0, 1, NULL, NULL, NULL, NULL, NULL};
    if (MODEL.prepare(&graph, arena, bytes) != GNN_OK) {
        stop("a graph of one node was refused");
    }
}

static gnn_status run_again(const record *r, const gnn_features *features, void *arena, float **values)
{
    float *again[MAX_OUTPUTS] = {NULL};
    sink_state state = {again, r->rows};
    const gnn_outputs outputs = {NULL, sink, &state};
    gnn_status status;
    uint32_t i;
    allocate_outputs(r, again);
    status = MODEL.run(features, arena, r->run_bytes, &outputs);
    for (i = 0; i < MODEL.num_outputs; i++) {
        const size_t bytes = (size_t)r->rows[i] * MODEL.outputs[i].channels * sizeof(float);
        if (status == GNN_OK && bytes != 0 && memcmp(values[i], again[i], bytes) != 0) {
            stop("a second run gave other outputs");
        }
        free(again[i]);
    }
    return status;
}

static void run_one(const record *r, unsigned char **sections, int32_t *statuses, float **values)
{
    const size_t nodes = r->nodes_given, edges = r->edges_given;
    const int sparse = MODEL.reads_sparse_features;
    uint16_t *source = take(&sections[0], edges * 2), *target = take(&sections[1], edges * 2);
    uint16_t *batch = take(&sections[2], nodes * 2);
    float *weight = take(&sections[3], MODEL.reads_edge_weight ? edges * 4 : 0);
    float *x = take(&sections[4], sparse ? 0 : nodes * MODEL.features * 4);
    uint32_t *x_pointer = take(&sections[5], sparse ? (nodes + 1) * 4 : 0);
    uint16_t *x_index = take(&sections[6], sparse ? nodes * MODEL.features * 2 : 0);
    float *edge_attr = take(&sections[7], edges * MODEL.edge_features * 4);
    uint16_t *type = take(&sections[8], MODEL.reads_edge_type ? edges * 2 : 0);
    unsigned char *memory = room((size_t)r->arena_bytes + r->arena_offset);
    void *arena = (r->flags & NO_ARENA) ? NULL : memory + r->arena_offset;
    float *none[MAX_OUTPUTS] = {NULL};
    gnn_outputs outputs;
    gnn_features features;

    memset(memory, 0xA5, (size_t)r->arena_bytes + r->arena_offset);
    if (r->flags & STALE) {
        prepare_another(arena, r->arena_bytes);
    }
    statuses[0] = -1;
    if (!(r->flags & SKIP_PREPARE)) {
        gnn_graph graph;
        graph.num_nodes = r->num_nodes;
        graph.num_edges = r->num_edges;
        graph.num_graphs = r->num_graphs;
        graph.source = (r->flags & NO_SOURCE) ? NULL : source;
        graph.target = (r->flags & NO_TARGET) ? NULL : target;
        graph.batch = (r->flags & NO_BATCH) ? NULL : batch;
        graph.edge_weight = (r->flags & NO_WEIGHT) || !MODEL.reads_edge_weight ? NULL : weight;
        graph.edge_type = (r->flags & NO_TYPE) || !MODEL.reads_edge_type ? NULL : type;
        statuses[0] = (int32_t)MODEL.prepare((r->flags & NO_GRAPH) ? NULL : &graph, arena, r->arena_bytes);
    }
    free(source);
    free(target);
    free(batch);
    free(weight);
    free(type);
    if (statuses[0] == GNN_OK && r->corrupt_with != 0) {
        memory[r->corrupt_at] = (unsigned char)(memory[r->corrupt_at] ^ r->corrupt_with);
    }
    features.x = (r->flags & NO_X) || sparse ? NULL : x;
    features.x_pointer = (r->flags & NO_X) || !sparse ? NULL : x_pointer;
    features.x_index = (r->flags & NO_X_INDEX) || !sparse ? NULL : x_index;
    features.edge_attr = (r->flags & NO_EDGE_ATTR) || MODEL.edge_features == 0 ? NULL : edge_attr;
    memcpy(none, values, sizeof none);
    if (r->flags & NO_VALUE) {
        none[MODEL.num_outputs - 1] = NULL;
    }
    outputs.values = (r->flags & NO_VALUES) ? NULL : none;
    outputs.sink = NULL;
    outputs.context = NULL;
    statuses[1] = (int32_t)MODEL.run((r->flags & NO_FEATURES) ? NULL : &features, arena, r->run_bytes,
                                     (r->flags & NO_OUTPUTS) ? NULL : &outputs);
    if (statuses[1] == GNN_OK && (r->flags & RUN_TWICE) && run_again(r, &features, arena, values) != GNN_OK) {
        stop("a second run was refused");
    }
    free(x);
    free(x_pointer);
    free(x_index);
    free(edge_attr);
    free(memory);
}

int main(void)
{
    uint32_t count;
#if defined(HAS_SANITIZER)
    __sanitizer_set_death_callback(report);
#endif
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        record *records = room(count * sizeof *records);
        unsigned char *whole[SECTIONS], *sections[SECTIONS];
        int32_t *statuses = room(count * 2 * sizeof *statuses);
        float **values = calloc((size_t)count * MAX_OUTPUTS, sizeof *values);
        uint32_t i, k;
        read_exactly(records, count * sizeof *records);
        for (k = 0; k < SECTIONS; k++) {
            uint64_t bytes;
            read_exactly(&bytes, sizeof bytes);
            whole[k] = sections[k] = room((size_t)bytes);
            read_exactly(whole[k], (size_t)bytes);
        }
        for (i = 0; i < count; i++) {
            current = i;
            allocate_outputs(&records[i], values + (size_t)i * MAX_OUTPUTS);
            run_one(&records[i], sections, statuses + 2 * (size_t)i, values + (size_t)i * MAX_OUTPUTS);
        }
        fwrite(statuses, sizeof *statuses, 2 * (size_t)count, stdout);
        for (i = 0; i < count; i++) {
            for (k = 0; k < MODEL.num_outputs; k++) {
                float *output = values[(size_t)i * MAX_OUTPUTS + k];
                fwrite(output, sizeof(float), (size_t)records[i].rows[k] * MODEL.outputs[k].channels, stdout);
                free(output);
            }
        }
        fflush(stdout);
        for (k = 0; k < SECTIONS; k++) {
            free(whole[k]);
        }
        free(records);
        free(statuses);
        free(values);
    }
    return 0;
}
