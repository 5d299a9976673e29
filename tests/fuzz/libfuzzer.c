/* A libFuzzer target: bytes are read as a graph, features and a call of MODEL. Wrong calls must be refused, never crash.
 *
 * The first bytes say what to call; the edges and values follow in arrays of exactly their size. What is not given is zero.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gnn.h"

#define MAX_ARRAY 512u /* edges of an input; the bounds of the models are far below */

extern const gnn_model MODEL;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *data;
    size_t size;
} input;

static void take(input *in, void *to, size_t bytes)
{
    const size_t given = bytes < in->size ? bytes : in->size;
    if (given != 0) {
        memcpy(to, in->data, given);
    }
    memset((uint8_t *)to + given, 0, bytes - given);
    in->data += given;
    in->size -= given;
}

static uint32_t number(input *in, uint32_t bytes)
{
    uint8_t digits[4] = {0};
    take(in, digits, bytes);
    return (uint32_t)digits[0] | (uint32_t)digits[1] << 8 | (uint32_t)digits[2] << 16 | (uint32_t)digits[3] << 24;
}

static void *array(input *in, size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL && bytes != 0) {
        abort();
    }
    if (bytes != 0) {
        take(in, memory, bytes);
    }
    return memory;
}

static void sink(void *context, uint32_t output, uint32_t first_row, uint32_t rows, const float *values)
{
    volatile float last;
    const size_t count = (size_t)rows * MODEL.outputs[output].channels;
    (void)context;
    (void)first_row;
    if (count != 0) {
        last = values[count - 1];
        (void)last;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input in = {data, size};
    const uint32_t flags = number(&in, 2);
    const uint32_t sizes = number(&in, 1);
    const uint32_t nodes = number(&in, (sizes & 1u) ? 4 : 1), edges = number(&in, 1), graphs = number(&in, (sizes & 2u) ? 4 : 1);
    const size_t rows = nodes < MAX_ARRAY ? nodes : MAX_ARRAY; /* more nodes than MAX_NODES are refused unread */
    const size_t required = MODEL.required_bytes();
    const size_t bytes = (flags & 1u) ? number(&in, 2) % (required + 16) : required;
    const size_t offset = (flags & 2u) ? number(&in, 1) % 8u : 0;
    uint8_t *const memory = malloc(bytes + offset);
    uint16_t *const source = array(&in, 2 * (size_t)edges), *const target = array(&in, 2 * (size_t)edges);
    uint16_t *const batch = array(&in, 2 * rows);
    float *const weight = MODEL.reads_edge_weight ? array(&in, 4 * (size_t)edges) : NULL;
    uint16_t *const type = MODEL.reads_edge_type ? array(&in, 2 * (size_t)edges) : NULL;
    uint32_t *const x_pointer = MODEL.reads_sparse_features ? array(&in, 4 * (rows + 1)) : NULL;
    uint16_t *const x_index = MODEL.reads_sparse_features ? array(&in, 2 * rows * MODEL.features) : NULL;
    float *const x = MODEL.reads_sparse_features ? NULL : array(&in, 4 * rows * MODEL.features);
    float *const edge_attr = MODEL.edge_features ? array(&in, 4 * (size_t)edges * MODEL.edge_features) : NULL;
    gnn_graph graph;
    gnn_features features;
    const gnn_outputs outputs = {NULL, (flags & 4u) ? NULL : sink, NULL};
    gnn_status status;

    if (memory == NULL) {
        abort();
    }
    memset(memory, 0x5A, bytes + offset);
    graph.num_nodes = nodes;
    graph.num_edges = edges;
    graph.num_graphs = graphs;
    graph.source = (flags & 8u) ? NULL : source;
    graph.target = (flags & 16u) ? NULL : target;
    graph.batch = (flags & 32u) ? NULL : batch;
    graph.edge_weight = (flags & 64u) ? NULL : weight;
    graph.edge_type = (flags & 32768u) ? NULL : type;
    features.x = (flags & 128u) ? NULL : x;
    features.x_pointer = (flags & 128u) ? NULL : x_pointer;
    features.x_index = (flags & 256u) ? NULL : x_index;
    features.edge_attr = (flags & 512u) ? NULL : edge_attr;
    if (!(flags & 1024u)) {
        status = MODEL.prepare((flags & 2048u) ? NULL : &graph, memory + offset, bytes);
        if ((int)status < GNN_OK || status > GNN_ERROR_NOT_PREPARED) {
            abort();
        }
    }
    if ((flags & 4096u) && bytes != 0) { /* overwrite a byte of the arena's head */
        memory[offset + number(&in, 1) % (bytes < 16 ? bytes : 16)] ^= (uint8_t)number(&in, 1);
    }
    status = MODEL.run((flags & 8192u) ? NULL : &features, memory + offset, bytes, (flags & 16384u) ? NULL : &outputs);
    if ((int)status < GNN_OK || status > GNN_ERROR_NOT_PREPARED) {
        abort();
    }
    free(memory);
    free(source);
    free(target);
    free(batch);
    free(weight);
    free(type);
    free(x_pointer);
    free(x_index);
    free(x);
    free(edge_attr);
    return 0;
}
