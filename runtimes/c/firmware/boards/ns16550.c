/* Boards with a 16550 serial port of byte-wide registers, such as QEMU's RISC-V machine. FIRMWARE_UART is its address. */
#include "board.h"

#define REGISTER(offset) (*(volatile uint8_t *)(uintptr_t)(FIRMWARE_UART + (offset)))
#define DATA REGISTER(0)
#define FIFO REGISTER(2)
#define STATE REGISTER(5) /* bit 0: a byte has come; bit 5: room to send */

uint32_t board_init(void)
{
    FIFO = 1;
    return 0;
}

uint8_t board_read(void)
{
    while ((STATE & 1u) == 0) {
    }
    return DATA;
}

void board_write(uint8_t byte)
{
    while ((STATE & 0x20u) == 0) {
    }
    DATA = byte;
}

uint32_t board_cycles(void)
{
    return 0;
}

void board_stop(void)
{
    for (;;) {
    }
}
