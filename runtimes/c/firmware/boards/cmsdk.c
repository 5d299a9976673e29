/* Boards with Arm's CMSDK serial port: the MPS2 and MPS3 prototyping boards. FIRMWARE_UART is its address. */
#include "board.h"

#define REGISTER(offset) (*(volatile uint32_t *)(uintptr_t)(FIRMWARE_UART + (offset)))
#define DATA REGISTER(0x0)
#define STATE REGISTER(0x4) /* bit 0: no room to send; bit 1: a byte has come */
#define CTRL REGISTER(0x8)
#define BAUDDIV REGISTER(0x10)

uint32_t board_init(void)
{
    BAUDDIV = 16; /* the fastest rate it takes */
    CTRL = 3;     /* send and receive */
    (void)DATA;   /* drops what came before; QEMU looks again for bytes to receive only after a read */
    return 0;
}

uint8_t board_read(void)
{
    while ((STATE & 2u) == 0) {
    }
    return (uint8_t)DATA;
}

void board_write(uint8_t byte)
{
    while ((STATE & 1u) != 0) {
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
