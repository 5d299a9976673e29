/* Serves the model of firmware_model.h to a host, one text line at a time, over board_read and board_write.
 *
 * A line is a letter of G..Z, bytes as pairs of the hex digits 0-9A-F, their checksum as four more digits, and a newline. The
 * checksum is CRC-16 (polynomial 0x1021, start 0xFFFF) over the letter and the bytes. A letter starts a line wherever it
 * stands, so a receiver that lost bytes is in step again with the next line. Every line starts with a number that the host
 * chooses and the answer repeats. Numbers are little-endian, floats are their bits.
 *
 *   host                                       board
 *   I struct number                            I struct identity, model name, 0, board name, 0
 *   W struct write: bytes of the input         W struct number: they are where they belong
 *   R struct infer: so many runs               an O line for every block of output rows of the last run (struct rows, values);
 *                                              an R line for every run (struct result)
 *   anything else                              E struct number: it was not done, because of `code`
 *   (a fault)                                  F struct fault: the board has stopped
 *
 * The input is struct input: all arrays of a graph at their largest size, one after another.
 */
#include "protocol.h"

#include "board.h"

static struct input input;
static uint64_t arena[(FIRMWARE_ARENA_BYTES + 7) / 8];

static const struct identity identity = {
    PROTOCOL_VERSION, 0, FIRMWARE_BLOCK, sizeof input, FIRMWARE_ARENA_BYTES, FIRMWARE_MAX_NODES, FIRMWARE_MAX_EDGES,
    FIRMWARE_MAX_GRAPHS, FIRMWARE_MAX_DEGREE, FIRMWARE_FEATURES, FIRMWARE_EDGE_FEATURES, FIRMWARE_BUILD,
};

/* ---- lines ----------------------------------------------------------------------------------------------------- */

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
    const uint8_t *byte = bytes;
    for (; count > 0; count--, byte++) {
        for (uint32_t digits = *byte * 0x1001u, half = 0; half < 2; half++, digits >>= 8) {
            const uint32_t digit = digits >> 4 & 15u;
            board_write((uint8_t)(digit + (digit < 10 ? '0' : 'A' - 10)));
        }
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

static uint32_t send_text(uint32_t crc, const char *text)
{
    do
        crc = send(crc, text, 1);
    while (*text++ != 0);
    return crc;
}

static void answer(uint8_t letter, const void *bytes, size_t count)
{
    end(send(start(letter), bytes, count));
}

union line {
    uint8_t bytes[sizeof(struct write) + 2]; /* the checksum too */
    struct number number;
    struct write write;
    struct infer infer;
};

/* Waits for a line. Returns its letter, or 0 for one that is damaged; `count` is the number of its bytes. */
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
            value = (uint8_t)(value << 4 | ((c & 15u) + (c >> 6) * 9u));
            if (digits++ & 1u) {
                if (digits <= 2 * sizeof line->bytes)
                    line->bytes[digits / 2 - 1] = value;
                crc = checksum(crc, value);
            }
        } else if (letter != 0) { /* a newline; the checksum of a line and its checksum is 0 */
            *count = digits / 2 - 2;
            return crc == 0 && digits <= 2 * sizeof line->bytes && *count >= sizeof(struct number) ? letter : 0;
        }
    }
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

struct run {
    uint8_t number;
    uint8_t is_last;
    uint32_t started;
};

static void send_rows(void *context, uint32_t output, uint32_t first, uint32_t rows, const float *values)
{
    struct run *run = context;
    const uint32_t paused = board_cycles();
    if (run->is_last) {
        const struct rows header = {run->number, (uint8_t)output, 0, first};
        const size_t bytes = rows * FIRMWARE_MODEL.outputs[output].channels * sizeof *values;
        end(send(send(start('O'), &header, sizeof header), values, bytes));
    }
    run->started += board_cycles() - paused;
}

static gnn_status prepare(const struct infer *infer)
{
#if FIRMWARE_FIXED_GRAPH
    return FIRMWARE_MODEL.prepare(NULL, arena, sizeof arena);
#else
    gnn_graph graph = {infer->num_nodes, infer->num_edges, infer->num_graphs, input.source, input.target, NULL, NULL};
#if FIRMWARE_MAX_GRAPHS > 1
    graph.batch = input.batch;
#endif
#if FIRMWARE_EDGE_WEIGHT
    graph.edge_weight = input.edge_weight;
#endif
    return FIRMWARE_MODEL.prepare(&graph, arena, sizeof arena);
#endif
}

static void infer(const struct infer *infer)
{
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
    struct run run = {infer->number, 0, 0};
    const gnn_outputs outputs = {NULL, send_rows, &run};
    struct result result = {infer->number, GNN_OK, infer->repetitions, 0, 0, 0};
    do {
        run.is_last = --result.remaining == 0;
        run.started = board_cycles();
        result.status = (uint8_t)prepare(infer);
        result.prepare_cycles = board_cycles() - run.started;
        if (result.status == GNN_OK) {
            run.started = board_cycles();
            result.status = (uint8_t)FIRMWARE_MODEL.run(&features, arena, sizeof arena, &outputs);
            result.run_cycles = board_cycles() - run.started;
        }
        result.stack_bytes = board_stack();
        answer('R', &result, sizeof result);
    } while (!run.is_last);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

void serve(void)
{
    for (;;) {
        union line line;
        uint32_t count;
        uint8_t letter = receive(&line, &count);
        struct number number = {line.number.number, 0, {0, 0}};
        if (letter == 'R' && count == sizeof line.infer) {
            infer(&line.infer);
            continue;
        }
        if (letter == 'I') {
            const uint32_t crc = send(send(start('I'), &number, sizeof number), &identity, sizeof identity);
            end(send_text(send_text(crc, FIRMWARE_MODEL.name), board_name));
            continue;
        }
        if (letter == 'W') {
            const uint32_t first = FIRMWARE_BLOCK * (uint32_t)line.write.block, bytes = count - offsetof(struct write, data);
            if (first + bytes <= sizeof input) {
                uint8_t *place = (uint8_t *)&input + first;
                for (uint32_t i = 0; i < bytes; i++)
                    place[i] = line.write.data[i];
            } else {
                number.code = OUTSIDE;
            }
        } else {
            number.code = letter == 0 ? DAMAGED : UNKNOWN;
        }
        answer(number.code == 0 ? letter : 'E', &number, sizeof number);
    }
}

void serve_fault(uint32_t kind, uint32_t address, uint32_t return_address, uint32_t fault_status)
{
    const struct fault fault = {0, kind, address, return_address, fault_status};
    board_write('\n');
    answer('F', &fault, sizeof fault);
    board_stop();
}
