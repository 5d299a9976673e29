/* What lies in the lines of protocol.c: little-endian, every field at a multiple of its size. */
#ifndef GNN_FIRMWARE_PROTOCOL_H
#define GNN_FIRMWARE_PROTOCOL_H

#include <stdint.h>

#include "firmware_model.h" /* made for each image: model.h, and as FIRMWARE_ macros what the model reads and how much */

#define PROTOCOL_VERSION 1

/* I, W, P and R carry a number that the host chooses, and so do their answers. */
struct number {
    uint8_t number, code, unused[2];
};
enum { DAMAGED = 1, UNKNOWN = 2, OUTSIDE = 3 }; /* of an X line: checksum or length; letter; beyond the memory */

struct identity {
    uint8_t number, version;
    uint16_t block;              /* bytes of memory in a W line */
    uint32_t cycles_per_second;  /* 0: the board has no counter */
    uint32_t input_bytes, arena_bytes;
    uint8_t build[8]; /* start of the sha256 of model.c */
};

/* The data belongs to byte FIRMWARE_BLOCK * block of the input, or of the edges: source [max_edges], target [max_edges]. */
struct write {
    uint8_t number, is_edges;
    uint16_t block;
    uint8_t data[FIRMWARE_BLOCK];
};

struct graph {
    uint8_t number, unused[3];
    uint32_t num_nodes, num_edges, num_graphs;
};

struct repetitions {
    uint8_t number, unused;
    uint16_t repetitions;
};

struct rows {
    uint8_t number, output;
    uint16_t channels;
    uint32_t first;
};

struct result {
    uint8_t number, status; /* a gnn_status */
    uint16_t remaining;     /* runs that follow */
    uint32_t lines;         /* O lines of this command: the host sees whether it got them all */
    uint32_t cycles;        /* without the time to send outputs; 0 where the board has no counter */
    uint32_t stack_bytes;   /* the most used since the start */
};

struct fault {
    uint32_t number, kind, address, return_address, status;
};

/* The arrays that a model reads beside the edges, at their largest size. */
struct input {
#if FIRMWARE_FEATURES
    float x[FIRMWARE_MAX_NODES * FIRMWARE_FEATURES];
#endif
#if FIRMWARE_EDGE_FEATURES
    float edge_attr[FIRMWARE_MAX_EDGES * FIRMWARE_EDGE_FEATURES];
#endif
#if FIRMWARE_EDGE_WEIGHT
    float edge_weight[FIRMWARE_MAX_EDGES];
#endif
#if FIRMWARE_BATCH
    uint16_t batch[FIRMWARE_MAX_NODES];
#endif
#if !(FIRMWARE_FEATURES || FIRMWARE_EDGE_FEATURES || FIRMWARE_EDGE_WEIGHT || FIRMWARE_BATCH)
    uint8_t nothing;
#endif
};

#endif
