/* What lies in the lines of protocol.c: little-endian, every field at a multiple of its size. */
#ifndef GNN_FIRMWARE_PROTOCOL_H
#define GNN_FIRMWARE_PROTOCOL_H

#include <stdint.h>

#include "firmware_model.h" /* made for each image: model.h, and as FIRMWARE_ macros what the model reads and how much */

#define PROTOCOL_VERSION 1
#define AT_LEAST_1(count) ((count) > 0 ? (count) : 1)

struct number {
    uint8_t number, code, unused[2];
};
enum { DAMAGED = 1, UNKNOWN = 2, OUTSIDE = 3 }; /* code: checksum or length; letter; beyond the input */

struct identity {
    uint8_t version, has_counter;
    uint16_t block; /* bytes of the input in a W line */
    uint32_t input_bytes, arena_bytes;
    uint32_t max_nodes, max_edges, max_graphs, max_degree;
    uint16_t features, edge_features;
    uint8_t build[8]; /* start of the sha256 of model.c */
};

struct write {
    uint8_t number, unused;
    uint16_t block; /* the data belongs to byte FIRMWARE_BLOCK * block of the input */
    uint8_t data[FIRMWARE_BLOCK];
};

struct infer {
    uint8_t number, unused;
    uint16_t repetitions;
    uint32_t num_nodes, num_edges, num_graphs;
};

struct rows {
    uint8_t number, output;
    uint16_t unused;
    uint32_t first;
};

struct result {
    uint8_t number, status; /* a gnn_status */
    uint16_t remaining;     /* runs that follow */
    uint32_t prepare_cycles, run_cycles; /* without the time to send outputs; 0 where the board has no counter */
    uint32_t stack_bytes;   /* the most since the start; 0 where it is not known */
};

struct fault {
    uint32_t number, kind, address, return_address, status;
};

/* The arrays of a graph. Those that the model does not read are not there. */
struct input {
#if FIRMWARE_FEATURES && !FIRMWARE_SPARSE_FEATURES
    float x[FIRMWARE_MAX_NODES * FIRMWARE_FEATURES];
#endif
#if FIRMWARE_EDGE_FEATURES
    float edge_attr[AT_LEAST_1(FIRMWARE_MAX_EDGES) * FIRMWARE_EDGE_FEATURES];
#endif
#if !FIRMWARE_FIXED_GRAPH
#if FIRMWARE_EDGE_WEIGHT
    float edge_weight[AT_LEAST_1(FIRMWARE_MAX_EDGES)];
#endif
    uint16_t source[AT_LEAST_1(FIRMWARE_MAX_EDGES)], target[AT_LEAST_1(FIRMWARE_MAX_EDGES)];
#if FIRMWARE_MAX_GRAPHS > 1
    uint16_t batch[FIRMWARE_MAX_NODES];
#endif
#endif
#if FIRMWARE_FIXED_GRAPH && FIRMWARE_SPARSE_FEATURES
    uint32_t nothing;
#endif
};

#endif
