/* Serves the model of firmware_model.h to a host, one text line at a time, over board_read and board_write.
 *
 * A line is a letter of G..Z, bytes as pairs of the hex digits 0-9A-F, their checksum as four more digits, and a newline. The
 * checksum is CRC-16 (polynomial 0x1021, start 0xFFFF) over the letter and the bytes. A letter starts a line wherever it
 * stands, so a receiver that lost bytes is in step again with the next line.
 *
 *   host                              board
 *   I struct number: who is there?    I struct identity, gnn_model from max_nodes to num_outputs, its name, 0, the board's name, 0
 *   W struct write: memory            W struct number: it is written
 *   P struct graph: prepare it        P struct result
 *   R struct repetitions: run         R struct result for every run; before the last one an O line for every block of output rows:
 *                                     struct rows, values
 *   anything else                     X struct number: not done, because of `code`
 *                                     Z struct fault: the board has stopped
 *
 * A line that is repeated has the effect that it had, so a host may repeat each one that is not answered. Edges are kept where the
 * model works later: a graph is written anew before it is prepared again, but needs not be prepared again for other features.
 */
#include "protocol.h"

#include "board.h"

static struct input input;
static uint64_t arena[(FIRMWARE_ARENA_BYTES + 7) / 8];

/* ---- lines ----------------------------------------------------------------------------------------------------- */

union line {
    uint8_t bytes[sizeof(struct write) + 2]; /* the checksum too */
    struct number number;
    struct write write;
    struct graph graph;
    struct repetitions repetitions;
};

static uint32_t checksum(uint32_t crc, uint32_t byte)
{
    byte ^= crc >> 8;
    byte ^= byte >> 4;
    return (crc << 8 ^ byte << 12 ^ byte << 5 ^ byte) & 0xFFFFu;
}

static uint32_t start(uint8_t letter)
{
    board_write(letter);
    return checksum(0xFFFFu, letter);
}

static uint32_t send(uint32_t crc, const void *bytes, size_t count)
{
    for (const uint8_t *byte = bytes; count > 0; count--, byte++) {
        for (uint32_t i = 0, digits = *byte; i < 2; i++, digits <<= 4) {
            const uint32_t digit = digits >> 4 & 15u;
            board_write((uint8_t)(digit + (digit < 10 ? '0' : 'A' - 10)));
        }
        crc = checksum(crc, *byte);
    }
    return crc;
}

static uint32_t send_text(uint32_t crc, const char *text)
{
    do
        crc = send(crc, text, 1);
    while (*text++ != 0);
    return crc;
}

static void end(uint32_t crc)
{
    const uint8_t bytes[2] = {(uint8_t)(crc >> 8), (uint8_t)crc};
    send(0, bytes, 2);
    board_write('\n');
}

static void answer(uint8_t letter, const void *bytes, size_t count)
{
    end(send(start(letter), bytes, count));
}

/* Waits for a line. Returns its letter, or 0 if it is damaged; `count` is the number of its bytes. */
static uint8_t receive(union line *line, uint32_t *count)
{
    uint32_t crc = 0, digits = 0;
    uint8_t letter = 0, value = 0;
    for (;;) {
        const uint8_t c = board_read();
        if (c >= 'G') {
            letter = c;
            digits = 0;
            crc = checksum(0xFFFFu, c);
        } else if (c >= '0') {
            value = (uint8_t)((uint32_t)value << 4 | ((c & 15u) + (c >> 6) * 9u));
            if (digits++ & 1u) {
                if (digits <= 2 * sizeof line->bytes)
                    line->bytes[digits / 2 - 1] = value;
                crc = checksum(crc, value);
            }
        } else if (letter != 0) { /* a newline; the checksum of bytes and their checksum is 0 */
            *count = digits / 2 - 2;
            return crc == 0 && *count >= sizeof(struct number) && *count <= sizeof(struct write) ? letter : 0;
        }
    }
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

struct run {
    struct result *result;
    uint32_t started;
};

static void send_rows(void *context, uint32_t output, uint32_t first, uint32_t rows, const float *values)
{
    struct run *run = context;
    struct result *result = run->result;
    const uint32_t paused = board_cycles();
    if (result->remaining == 0) {
        const uint16_t channels = FIRMWARE_MODEL.outputs[output].channels;
        const struct rows header = {result->number, (uint8_t)output, channels, first};
        end(send(send(start('O'), &header, sizeof header), values, rows * channels * sizeof *values));
        result->lines++;
    }
    run->started += board_cycles() - paused;
}

static uint8_t *edges(void)
{
    return (uint8_t *)arena + FIRMWARE_MODEL.edges_offset;
}

static void prepare(const struct graph *line, struct result *result)
{
#if FIRMWARE_FIXED_GRAPH
    const gnn_graph *given = NULL;
#else
    const uint16_t *source = (const uint16_t *)(const void *)edges();
    const gnn_graph graph = {line->num_nodes, line->num_edges, line->num_graphs, source, source + FIRMWARE_MAX_EDGES,
#if FIRMWARE_BATCH
        input.batch,
#else
        NULL,
#endif
#if FIRMWARE_EDGE_WEIGHT
        input.edge_weight,
#else
        NULL,
#endif
    };
    const gnn_graph *given = &graph;
#endif
    const uint32_t started = board_cycles();
    result->status = (uint8_t)FIRMWARE_MODEL.prepare(given, arena, sizeof arena);
    result->cycles = board_cycles() - started;
    result->stack_bytes = board_stack();
}

static const gnn_features features = {
#if FIRMWARE_SPARSE_FEATURES
    NULL, firmware_x_pointer, firmware_x_index,
#elif FIRMWARE_FEATURES
    input.x, NULL, NULL,
#else
    NULL, NULL, NULL,
#endif
#if FIRMWARE_EDGE_FEATURES
    input.edge_attr,
#else
    NULL,
#endif
};

static void run(struct result *result)
{
    struct run run = {result, board_cycles()};
    const gnn_outputs outputs = {NULL, send_rows, &run};
    result->status = (uint8_t)FIRMWARE_MODEL.run(&features, arena, sizeof arena, &outputs);
    result->cycles = board_cycles() - run.started;
    result->stack_bytes = board_stack();
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

void serve(uint32_t cycles_per_second)
{
    for (;;) {
        union line line;
        struct result result = {0, 0, 0, 0, 0, 0};
        uint32_t count, bytes = sizeof(struct number);
        uint8_t letter = receive(&line, &count);
        result.number = line.number.number;
        if (letter == 'P' && count == sizeof line.graph) {
            prepare(&line.graph, &result);
            bytes = sizeof result;
        } else if (letter == 'R') {
            bytes = sizeof result;
            for (result.remaining = line.repetitions.repetitions; result.remaining > 0;) {
                result.remaining--;
                run(&result);
                if (result.remaining > 0) answer('R', &result, sizeof result);
            }
        } else if (letter == 'W') {
            uint8_t *place = line.write.is_edges ? edges() : (uint8_t *)&input;
            const uint32_t room = line.write.is_edges ? 4 * FIRMWARE_MAX_EDGES : sizeof input;
            const uint32_t first = FIRMWARE_BLOCK * (uint32_t)line.write.block;
            count -= sizeof(struct number);
            if (first + count > room) {
                letter = 'X'; result.status = OUTSIDE;
            } else {
                for (uint32_t i = 0; i < count; i++)
                    place[first + i] = line.write.data[i];
            }
        } else if (letter == 'I') {
            const struct identity identity = {line.number.number, PROTOCOL_VERSION, FIRMWARE_BLOCK, cycles_per_second, sizeof input,
                sizeof arena, FIRMWARE_BUILD};
            const uint32_t crc = send(start(letter), &identity, sizeof identity);
            end(send_text(send_text(send(crc, &FIRMWARE_MODEL.max_nodes, 24), FIRMWARE_MODEL.name), FIRMWARE_BOARD));
            continue;
        } else {
            result.status = letter == 0 ? DAMAGED : UNKNOWN;
            letter = 'X';
        }
        answer(letter, &result, bytes);
    }
}

void serve_fault(uint32_t kind, uint32_t address, uint32_t return_address, uint32_t fault_status)
{
    const struct fault fault = {0, kind, address, return_address, fault_status};
    board_write('\n');
    answer('Z', &fault, sizeof fault);
    board_stop();
}
