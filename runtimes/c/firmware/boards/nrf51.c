/* Boards with the serial port of a Nordic nRF51, such as the first BBC micro:bit. FIRMWARE_UART is its address. */
#include "board.h"

#define REGISTER(offset) (*(volatile uint32_t *)(uintptr_t)(FIRMWARE_UART + (offset)))
#define START_RECEIVING REGISTER(0x000)
#define START_SENDING REGISTER(0x008)
#define RECEIVED REGISTER(0x108)
#define SENT REGISTER(0x11C)
#define ENABLE REGISTER(0x500)
#define RXD REGISTER(0x518)
#define TXD REGISTER(0x51C)

uint32_t board_init(void)
{
    ENABLE = 4;
    START_SENDING = 1;
    START_RECEIVING = 1;
    return 0;
}

uint8_t board_read(void)
{
    while (RECEIVED == 0) {
    }
    RECEIVED = 0;
    return (uint8_t)RXD;
}

void board_write(uint8_t byte)
{
    SENT = 0;
    TXD = byte;
    while (SENT == 0) {
    }
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
