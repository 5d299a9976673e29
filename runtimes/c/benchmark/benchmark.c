/* Runs a model on a file of graphs and times it: a program for Linux and Android that needs no library on the device.
 *
 *   benchmark GRAPHS RESULTS SECONDS CPUS [TIMED SAMPLES WINDOW WARM_SAMPLES WARM_WINDOW ROUNDS]
 *
 * SECONDS: after which the program ends itself, whatever it does. CPUS: set of processors to run on, hexadecimal; 0 leaves it as it is.
 * With TIMED, the graph of that number is timed after all were computed, in ROUNDS rounds, each with one window for the model alone
 * and one from edges to outputs. A window has at least SAMPLES inferences and lasts at least WINDOW nanoseconds; before it come at
 * least WARM_SAMPLES inferences in WARM_WINDOW nanoseconds. Every inference is timed on its own; of very many, one in `stride` is kept.
 *
 * Numbers are little-endian. GRAPHS: struct graphs; for each graph struct given, rows [num_outputs] u32, then the arrays that the
 * model reads, each filled up to a multiple of 4 bytes: source [E], target [E], batch [N] u16; edge_weight [E]; x [N, F], or
 * x_pointer [N + 1] u32 and x_index u16; edge_attr [E, D].
 * RESULTS: "PGNNRES1", 8 bytes of BENCHMARK_BUILD, then records of struct record and its bytes; the last one is END with the CRC-32 of
 * all before it, so a file that was cut off is known.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "benchmark_model.h" /* made for each model: model.h, BENCHMARK_MODEL and BENCHMARK_BUILD */

enum { END = 0, GRAPH = 1, STATUS = 2, MEMORY = 3, WINDOW = 4, CLOCK = 5 };
enum { USAGE = 2, BAD_GRAPHS = 3, BAD_RESULTS = 4, NO_MEMORY = 5, NO_CPU = 6, REFUSED = 7 };
enum { HAS_EDGES = 1, HAS_BATCH = 2, HAS_WEIGHT = 4, HAS_X = 8, HAS_SPARSE_X = 16, HAS_ATTR = 32, HAS_TYPE = 64 };
enum { MOST_KEPT = 4096 }; /* samples of a window */

struct graphs {
    char magic[8];
    uint8_t build[8];
    uint32_t count, unused;
};
struct given {
    uint32_t num_nodes, num_edges, num_graphs, ones, arrays; /* ones: entries of x_index; arrays: which follow */
};
struct record {
    uint32_t kind, bytes;
};
struct computed { /* GRAPH: then the outputs */
    uint32_t position, status;
    uint64_t prepare_ns, run_ns;
};
struct window { /* WINDOW: then the samples in nanoseconds, u32 */
    uint32_t with_graph, round, stride, warm;
    uint64_t inferences, elapsed_ns;
};

static FILE *graphs_file, *results_file;
static uint32_t crc = 0xFFFFFFFFu;

static void fail(int status, const char *what)
{
    fprintf(stderr, "benchmark: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(status);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- files ----------------------------------------------------------------------------------------------------- */

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);
    if (memory == NULL)
        fail(NO_MEMORY, "no memory");
    return memory;
}

static void take(void *place, size_t bytes)
{
    errno = 0;
    if (fread(place, 1, bytes, graphs_file) != bytes)
        fail(BAD_GRAPHS, "the file of graphs is too short");
}

static void *taken(uint32_t arrays, uint32_t flag, size_t count, size_t size)
{
    void *array = NULL;
    if (arrays & flag) {
        array = allocate((count * size + 3) & ~(size_t)3);
        take(array, (count * size + 3) & ~(size_t)3);
    }
    return array;
}

static void put(const void *bytes, size_t count)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    const uint8_t *byte = bytes;
    errno = 0;
    if (fwrite(bytes, 1, count, results_file) != count)
        fail(BAD_RESULTS, "the results cannot be written");
    for (size_t i = 0; i < count; i++) {
        crc = table[(crc ^ byte[i]) & 15u] ^ crc >> 4;
        crc = table[(crc ^ (uint32_t)byte[i] >> 4) & 15u] ^ crc >> 4;
    }
}

static void put_record(uint32_t kind, size_t bytes)
{
    const struct record record = {kind, (uint32_t)bytes};
    put(&record, sizeof record);
}

/* What the system says of this process, as it says it. */
static void put_text(uint32_t kind, const char *path)
{
    static char text[8192];
    FILE *file = fopen(path, "r");
    const size_t bytes = file ? fread(text, 1, sizeof text, file) : 0;
    if (file)
        fclose(file);
    put_record(kind, bytes);
    put(text, bytes);
}

static void end_results(void)
{
    uint32_t sum;
    put_record(END, 4);
    sum = ~crc;
    put(&sum, 4);
    if (fflush(results_file) != 0 || fsync(fileno(results_file)) != 0 || fclose(results_file) != 0)
        fail(BAD_RESULTS, "the results cannot be written");
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

struct inputs {
    gnn_graph graph;
    gnn_features features;
    float *values[BENCHMARK_OUTPUTS];
    uint32_t rows[BENCHMARK_OUTPUTS];
};

static void *arena;
static size_t arena_bytes;

static gnn_status prepare(const struct inputs *in)
{
    return BENCHMARK_MODEL.prepare(BENCHMARK_MODEL.has_fixed_graph ? NULL : &in->graph, arena, arena_bytes);
}

static gnn_status run(const struct inputs *in)
{
    const gnn_outputs outputs = {in->values, NULL, NULL};
    return BENCHMARK_MODEL.run(&in->features, arena, arena_bytes, &outputs);
}

static gnn_status infer(const struct inputs *in, int with_graph)
{
    const gnn_status status = with_graph ? prepare(in) : GNN_OK;
    return status == GNN_OK ? run(in) : status;
}

static void read_graph(struct inputs *in)
{
    struct given given;
    uint32_t arrays;
    take(&given, sizeof given);
    arrays = given.arrays;
    if (given.num_nodes > BENCHMARK_MODEL.max_nodes || given.num_edges > 1u << 24 || given.num_graphs > BENCHMARK_MODEL.max_nodes)
        fail(BAD_GRAPHS, "a graph is larger than the model takes");
    take(in->rows, sizeof in->rows);
    in->graph.num_nodes = given.num_nodes;
    in->graph.num_edges = given.num_edges;
    in->graph.num_graphs = given.num_graphs;
    in->graph.source = taken(arrays, HAS_EDGES, given.num_edges, 2);
    in->graph.target = taken(arrays, HAS_EDGES, given.num_edges, 2);
    in->graph.batch = taken(arrays, HAS_BATCH, given.num_nodes, 2);
    in->graph.edge_weight = taken(arrays, HAS_WEIGHT, given.num_edges, 4);
    in->features.x = taken(arrays, HAS_X, (size_t)given.num_nodes * BENCHMARK_MODEL.features, 4);
    in->features.x_pointer = taken(arrays, HAS_SPARSE_X, (size_t)given.num_nodes + 1, 4);
    in->features.x_index = taken(arrays, HAS_SPARSE_X, given.ones, 2);
    in->features.edge_attr = taken(arrays, HAS_ATTR, (size_t)given.num_edges * BENCHMARK_MODEL.edge_features, 4);
    in->graph.edge_type = taken(arrays, HAS_TYPE, given.num_edges, 2);
    for (uint32_t i = 0; i < BENCHMARK_OUTPUTS; i++)
        in->values[i] = allocate((size_t)in->rows[i] * BENCHMARK_MODEL.outputs[i].channels * sizeof(float));
}

static void release(struct inputs *in)
{
    const void *arrays[] = {in->graph.source, in->graph.target, in->graph.batch, in->graph.edge_weight, in->features.x,
                            in->features.x_pointer, in->features.x_index, in->features.edge_attr, in->graph.edge_type};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        free((void *)(uintptr_t)arrays[i]);
    for (uint32_t i = 0; i < BENCHMARK_OUTPUTS; i++)
        free(in->values[i]);
}

static gnn_status compute(uint32_t position, const struct inputs *in)
{
    struct computed computed = {position, 0, 0, 0};
    size_t bytes = 0;
    uint64_t start = now(), prepared;
    gnn_status status = prepare(in);
    prepared = now();
    if (status == GNN_OK) {
        status = run(in);
        computed.run_ns = now() - prepared;
    }
    computed.status = status;
    computed.prepare_ns = prepared - start;
    for (uint32_t i = 0; i < BENCHMARK_OUTPUTS && status == GNN_OK; i++)
        bytes += (size_t)in->rows[i] * BENCHMARK_MODEL.outputs[i].channels * sizeof(float);
    put_record(GRAPH, sizeof computed + bytes);
    put(&computed, sizeof computed);
    for (uint32_t i = 0; i < BENCHMARK_OUTPUTS && status == GNN_OK; i++)
        put(in->values[i], (size_t)in->rows[i] * BENCHMARK_MODEL.outputs[i].channels * sizeof(float));
    return status;
}

/* ---- timing ---------------------------------------------------------------------------------------------------- */

struct protocol {
    uint64_t samples, window_ns, warm_samples, warm_ns, rounds;
};

static void time_window(const struct inputs *in, const struct protocol *protocol, int with_graph, uint32_t round)
{
    static uint32_t kept[MOST_KEPT];
    struct window window = {(uint32_t)with_graph, round, 1, 0, 0, 0};
    uint64_t begin = now(), end = begin;
    uint32_t count = 0;
    if (!with_graph)
        prepare(in);
    while (window.warm < protocol->warm_samples || end - begin < protocol->warm_ns) {
        if (infer(in, with_graph) != GNN_OK)
            fail(REFUSED, "the model refused a graph that it took before");
        end = now();
        window.warm++;
    }
    begin = end = now();
    while (window.inferences < protocol->samples || end - begin < protocol->window_ns) {
        const uint64_t start = now();
        uint64_t took;
        infer(in, with_graph);
        end = now();
        took = end - start;
        if (window.inferences++ % window.stride != 0)
            continue;
        if (count == MOST_KEPT) { /* keep every other one, of these and from now on */
            for (count = 0; count < MOST_KEPT / 2; count++)
                kept[count] = kept[2 * count];
            window.stride *= 2;
        }
        kept[count++] = took > 0xFFFFFFFFu ? 0xFFFFFFFFu : (uint32_t)took;
    }
    window.elapsed_ns = end - begin;
    put_record(WINDOW, sizeof window + count * sizeof *kept);
    put(&window, sizeof window);
    put(kept, count * sizeof *kept);
}

static void run_on(const char *cpus)
{
    const unsigned long long mask = strtoull(cpus, NULL, 16);
    cpu_set_t set;
    if (mask == 0)
        return;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < 64; cpu++)
        if (mask >> cpu & 1)
            CPU_SET(cpu, &set);
    errno = 0;
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fail(NO_CPU, "these processors are not to be had");
}

int main(int argc, char **argv)
{
    struct graphs graphs;
    struct timespec resolution;
    static const uint8_t build[8] = BENCHMARK_BUILD;
    uint64_t timed = argc == 11 ? strtoull(argv[5], NULL, 10) : ~(uint64_t)0, tick;
    struct protocol protocol = {0, 0, 0, 0, 0};
    if (argc != 5 && argc != 11) {
        fputs("benchmark GRAPHS RESULTS SECONDS CPUS [TIMED SAMPLES WINDOW WARM_SAMPLES WARM_WINDOW ROUNDS]\n", stderr);
        return USAGE;
    }
    alarm((unsigned)strtoul(argv[3], NULL, 10));
    run_on(argv[4]);
    if (argc == 11) {
        const struct protocol given = {strtoull(argv[6], NULL, 10), strtoull(argv[7], NULL, 10), strtoull(argv[8], NULL, 10),
                                       strtoull(argv[9], NULL, 10), strtoull(argv[10], NULL, 10)};
        protocol = given;
    }
    errno = 0;
    graphs_file = fopen(argv[1], "rb");
    if (graphs_file == NULL)
        fail(BAD_GRAPHS, argv[1]);
    results_file = fopen(argv[2], "wb");
    if (results_file == NULL)
        fail(BAD_RESULTS, argv[2]);
    take(&graphs, sizeof graphs);
    if (memcmp(graphs.magic, "PGNNGRF1", 8) != 0 || memcmp(graphs.build, build, 8) != 0)
        fail(BAD_GRAPHS, "the graphs are not for this model");
    arena_bytes = BENCHMARK_MODEL.required_bytes();
    arena = allocate(arena_bytes);
    put("PGNNRES1", 8);
    put(build, 8);
    for (uint32_t position = 0; position < graphs.count; position++) {
        struct inputs in;
        gnn_status status;
        memset(&in, 0, sizeof in);
        read_graph(&in);
        status = compute(position, &in);
        if (position == timed || (timed >= graphs.count && position + 1 == graphs.count)) {
            put_text(STATUS, "/proc/self/status"); /* memory of the model, before that of the samples */
            put_text(MEMORY, "/proc/self/smaps_rollup");
        }
        if (position == timed)
            for (uint32_t round = 0; round < protocol.rounds && status == GNN_OK; round++) {
                time_window(&in, &protocol, 0, round);
                time_window(&in, &protocol, 1, round);
            }
        release(&in);
    }
    clock_getres(CLOCK_MONOTONIC, &resolution);
    tick = (uint64_t)resolution.tv_sec * 1000000000u + (uint64_t)resolution.tv_nsec;
    put_record(CLOCK, 8);
    put(&tick, 8);
    end_results();
    return 0;
}
