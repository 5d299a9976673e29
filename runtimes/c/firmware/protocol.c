/* Serves the model of firmware_model.h to a host, one text line at a time, over board_read and board_write.
 *
 * A line is a letter of G..Z, bytes as pairs of the hex digits 0-9A-F, their checksum as four more digits, and a newline. The
 * checksum is CRC-16 (polynomial 0x1021, start 0xFFFF) over the letter and the bytes. A letter starts a line wherever it
 * stands, so a receiver that lost bytes is in step again with the next line.
 *
 *   host                              board
 *   I struct command: who is there?   I struct result, gnn_model from max_nodes to num_outputs, struct identity
 *   W struct write: memory            W struct result
 *   P struct prepare: the edges       P struct result
 *   R struct command: run             O struct rows, values: one line for every block of output rows; R struct result
 *   anything else                     X struct result: not done
 *                                     Z struct fault: the board has stopped
 *
 * A line that is repeated has the effect that it had, so a host may repeat each one that is not answered. Edges are kept where the
 * model works later: they are written anew before they are prepared again, but need not be prepared again for other features.
 */
#include "protocol.h"

#include "board.h"

static struct input input;
static uint64_t arena[(FIRMWARE_ARENA_BYTES + 7) / 8];

static const struct identity identity = {
    PROTOCOL_VERSION, 0, FIRMWARE_BLOCK, sizeof input, sizeof arena, FIRMWARE_BUILD, FIRMWARE_NAMES,
};

/* ---- lines ----------------------------------------------------------------------------------------------------- */

union line {
    uint8_t bytes[sizeof(struct write) + 2]; /* the checksum too */
    struct command command;
    struct write write;
    struct prepare prepare;
};

static uint32_t checksum(uint32_t crc, uint32_t byte)
{
    byte ^= crc >> 8;
    byte ^= byte >> 4;
    return (crc << 8 ^ byte << 12 ^ byte << 5 ^ byte) & 0xFFFFu;
}

static __attribute__((noinline)) uint32_t start(uint8_t letter)
{
    board_write(letter);
    return checksum(0xFFFFu, letter);
}

static __attribute__((noinline)) void send_digit(uint32_t digit)
{
    board_write((uint8_t)(digit + (digit < 10 ? '0' : 'A' - 10)));
}

static uint32_t send(uint32_t crc, const void *bytes, size_t count)
{
    for (const uint8_t *byte = bytes; count > 0; count--, byte++) {
        send_digit(*byte >> 4);
        send_digit(*byte & 15u);
        crc = checksum(crc, *byte);
    }
    return crc;
}

static void end(uint32_t crc)
{
    const uint8_t bytes[2] = {(uint8_t)(crc >> 8), (uint8_t)crc};
    send(0, bytes, 2);
    board_write('\n');
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
            return crc == 0 && *count >= sizeof(struct command) && *count <= sizeof(struct write) ? letter : 0;
        }
    }
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

struct run {
    struct result *result;
    uint32_t started;
    uint8_t is_silent;
};

static void send_rows(void *context, uint32_t output, uint32_t first, uint32_t rows, const float *values)
{
    struct run *run = context;
    const uint32_t paused = board_cycles();
    if (!run->is_silent) {
        struct rows header;
        header.number = run->result->number;
        header.output = (uint8_t)output;
        header.channels = FIRMWARE_MODEL.outputs[output].channels;
        header.first = first;
        end(send(send(start('O'), &header, sizeof header), values, rows * header.channels * sizeof *values));
        run->result->lines++;
    }
    run->started += board_cycles() - paused;
}

static uint8_t *edges(void)
{
    return (uint8_t *)arena + FIRMWARE_MODEL.edges_offset;
}

static void prepare(const struct prepare *line, struct result *result)
{
    uint32_t started;
#if FIRMWARE_FIXED_GRAPH
    const gnn_graph *given = NULL;
    (void)line;
#else
    gnn_graph graph, *given = &graph;
    graph.num_nodes = line->num_nodes;
    graph.num_edges = line->num_edges;
    graph.num_graphs = line->num_graphs;
    graph.source = (const uint16_t *)(const void *)edges();
    graph.target = graph.source + FIRMWARE_MAX_EDGES;
    graph.batch = INPUT_BATCH;
    graph.edge_weight = INPUT_EDGE_WEIGHT;
    graph.edge_type = NULL;
#endif
    started = board_cycles();
    result->status = (uint8_t)FIRMWARE_MODEL.prepare(given, arena, sizeof arena);
    result->cycles = board_cycles() - started;
}

static void infer(const struct command *line, struct result *result)
{
    static const gnn_features features = {INPUT_X, FIRMWARE_X_POINTER, FIRMWARE_X_INDEX, INPUT_EDGE_ATTR};
    struct run run = {result, board_cycles(), line->option};
    const gnn_outputs outputs = {NULL, send_rows, &run};
    uint32_t runs = line->runs;
    do
        result->status = (uint8_t)FIRMWARE_MODEL.run(&features, arena, sizeof arena, &outputs);
    while (result->status == 0 && runs-- > 1);
    result->cycles = board_cycles() - run.started;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

static uint8_t write(const struct write *line, uint32_t count)
{
    uint8_t *place = line->is_edges ? edges() : (uint8_t *)&input;
    const uint32_t room = line->is_edges ? 4 * FIRMWARE_MAX_EDGES : sizeof input, first = FIRMWARE_BLOCK * (uint32_t)line->block;
    if (first + count > room)
        return OUTSIDE;
    for (uint32_t i = 0; i < count; i++)
        place[first + i] = line->data[i];
    return 0;
}

void serve(uint32_t cycles_per_second)
{
    for (uint32_t lines = 1;; lines++) {
        union line line;
        struct result result;
        uint32_t count, crc;
        uint8_t letter = receive(&line, &count);
        result.number = line.command.number;
        result.status = 0;
        result.lines = 0;
        result.cycles = cycles_per_second;
        if (letter == 'W') {
            result.status = write(&line.write, count - (uint32_t)sizeof line.command);
        } else if (letter == 'P') {
            prepare(&line.prepare, &result);
        } else if (letter == 'R') {
            infer(&line.command, &result);
        } else if (letter != 'I') {
            result.status = letter == 0 ? DAMAGED : UNKNOWN;
            letter = 'X';
        }
        result.since_start = letter == 'P' || letter == 'R' ? board_stack() : lines;
        crc = send(start(letter), &result, sizeof result);
        if (letter == 'I')
            crc = send(send(crc, &FIRMWARE_MODEL.max_nodes, 24), &identity, sizeof identity);
        end(crc);
    }
}

void serve_fault(const struct fault *fault)
{
    board_write('\n');
    end(send(start('Z'), fault, sizeof *fault));
    board_stop();
}
