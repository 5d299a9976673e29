/* The board API: the six functions between the protocol and a board. A port to a real board is a copy of one file of boards/.
 *
 * Emulators know these functions by name: an instruction-set emulator without any device plays the board by taking over
 * board_init, board_read and board_write, and the instructions between two calls of board_cycles are those of the model.
 */
#ifndef GNN_FIRMWARE_BOARD_H
#define GNN_FIRMWARE_BOARD_H

#include <stdint.h>

/* Sets up clocks and the serial port. Called once, after .data and .bss are there and the FPU, if there is one, is on.
 * Returns how often board_cycles counts in a second; 0 where there is no counter. */
uint32_t board_init(void);

/* The next byte from the host; waits for it. */
uint8_t board_read(void);

/* Sends a byte to the host; waits until there is room. */
void board_write(uint8_t byte);

/* A free-running counter that wraps at 2^32: of clock cycles where the processor has one. */
uint32_t board_cycles(void);

/* The most stack used since the start, in bytes. Part of the start-up code of a processor, not of a board. */
uint32_t board_stack(void);

/* Stops for good: the last thing that a fault does. */
void board_stop(void);

/* What the start-up code ends in. */
__attribute__((noreturn)) void serve(uint32_t cycles_per_second);

/* Why the processor stopped: the kind of fault in its own numbers, the address of the instruction, the return address, and the
 * fault status (0 where there is none). */
struct fault {
    uint32_t kind, address, return_address, status;
};

/* What a fault handler ends in: tells the host, then stops. */
void serve_fault(const struct fault *fault);

#endif
