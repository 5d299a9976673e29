/* The board API: the six functions between the protocol and a board. A port to a real board is a copy of one file of boards/.
 *
 * Emulators know these functions by name: an instruction-set emulator without any device plays the board by taking over
 * board_init, board_read and board_write, and the instructions between two calls of board_cycles are those of the model.
 */
#ifndef GNN_FIRMWARE_BOARD_H
#define GNN_FIRMWARE_BOARD_H

#include <stdint.h>

/* Clocks and the serial port. Called once, after .data and .bss are set up and the FPU, if there is one, is on. */
void board_init(void);

/* The next byte from the host; waits for it. */
uint8_t board_read(void);

/* Sends a byte to the host; waits until there is room. */
void board_write(uint8_t byte);

/* A free-running counter of clock cycles that wraps at 2^32, or always 0 where there is none. */
uint32_t board_cycles(void);

/* The most stack used since the start in bytes, by the paint that is gone. At least 4 less than the room means that it fitted. */
uint32_t board_stack(void);

/* Stops for good: the last thing that a fault does. */
void board_stop(void);

extern const char board_name[];

/* What a board's startup code calls; does not return. */
void serve(void);

/* What a board's fault handler calls: says `fault` with the kind of fault, where it happened, and the fault status register
 * (0 where there is none), then stops. */
void serve_fault(uint32_t kind, uint32_t address, uint32_t return_address, uint32_t fault_status);

#endif
