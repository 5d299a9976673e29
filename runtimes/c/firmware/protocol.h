/* What lies in the lines of protocol.c: little-endian, every field at a multiple of its size. */
#ifndef GNN_FIRMWARE_PROTOCOL_H
#define GNN_FIRMWARE_PROTOCOL_H

#include <stdint.h>

#include "firmware_model.h" /* made for each image: model.h, and as FIRMWARE_ macros what the model reads and how much */

#define PROTOCOL_VERSION 2

/* What every line of the host starts with. R: `option` 1 runs without sending outputs; `runs` in a row, 0 is one. */
struct command {
    uint8_t number, option;
    uint16_t runs;
};

/* Data for byte FIRMWARE_BLOCK * block of the input, or of the edges: source [max_edges], target [max_edges]. */
struct write {
    uint8_t number, is_edges;
    uint16_t block;
    uint8_t data[FIRMWARE_BLOCK];
};

struct prepare {
    uint8_t number, unused[3];
    uint32_t num_nodes, num_edges, num_graphs;
};

/* What every line of the board starts with, but those of outputs and faults. */
struct result {
    uint8_t number, status; /* P, R: a gnn_status; W, X: 0, or one of the codes below */
    uint16_t lines;         /* O lines before this one that belong to it */
    uint32_t cycles;        /* P, R: taken, without sending; I: in a second. 0 where the board has no counter */
    uint32_t since_start;   /* P, R: the most bytes of stack; I, W: lines that came, by which a host notices a new start */
};
enum { DAMAGED = 1, UNKNOWN = 2, OUTSIDE = 3 }; /* checksum or length; letter; beyond the memory */

struct identity {
    uint8_t version, unused;
    uint16_t block; /* bytes of memory in a W line */
    uint32_t input_bytes, arena_bytes;
    uint8_t build[8]; /* start of the sha256 of model.c */
    char names[sizeof FIRMWARE_NAMES]; /* of the model and of the board, a 0 after each */
};

struct rows {
    uint8_t number, output;
    uint16_t channels;
    uint32_t first;
};

/* The arrays that a model reads beside the edges, at their largest size, and where they are. */
struct input {
#if FIRMWARE_FEATURES
    float x[FIRMWARE_MAX_NODES * FIRMWARE_FEATURES];
#define INPUT_X input.x
#else
#define INPUT_X NULL
#endif
#if FIRMWARE_EDGE_FEATURES
    float edge_attr[FIRMWARE_MAX_EDGES * FIRMWARE_EDGE_FEATURES];
#define INPUT_EDGE_ATTR input.edge_attr
#else
#define INPUT_EDGE_ATTR NULL
#endif
#if FIRMWARE_EDGE_WEIGHT
    float edge_weight[FIRMWARE_MAX_EDGES];
#define INPUT_EDGE_WEIGHT input.edge_weight
#else
#define INPUT_EDGE_WEIGHT NULL
#endif
#if FIRMWARE_BATCH
    uint16_t batch[FIRMWARE_MAX_NODES];
#define INPUT_BATCH input.batch
#else
#define INPUT_BATCH NULL
#endif
#if !(FIRMWARE_FEATURES || FIRMWARE_EDGE_FEATURES || FIRMWARE_EDGE_WEIGHT || FIRMWARE_BATCH)
    uint8_t nothing;
#endif
};

#endif
