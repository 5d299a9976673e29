/* This machine as a board: the host talks to standard input and output, and the counter is the clock, so its times are real.
 *
 *   host_board [RATE]   states RATE counts in a second instead of the true 1,000,000,000
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "board.h"

static uint32_t stated_rate = 1000000000u;
static const char *top;

uint32_t board_init(void)
{
    return stated_rate;
}

/* The end of input ends the program, and so does that of the line. */
uint8_t board_read(void)
{
    uint8_t byte;
    ssize_t count;
    do
        count = read(0, &byte, 1);
    while (count < 0 && errno == EINTR);
    if (count != 1)
        exit(0);
    return byte;
}

void board_write(uint8_t byte)
{
    static uint8_t buffer[4096];
    static size_t length;
    buffer[length++] = byte;
    if (byte != '\n' && length < sizeof buffer)
        return;
    for (size_t sent = 0; sent < length;) {
        const ssize_t count = write(1, buffer + sent, length - sent);
        if (count < 0 && errno != EINTR)
            exit(1);
        sent += count > 0 ? (size_t)count : 0;
    }
    length = 0;
}

uint32_t board_cycles(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
}

/* How deep the stack is now. */
uint32_t board_stack(void)
{
    char here;
    return (uint32_t)(top - &here);
}

void board_stop(void)
{
    exit(2);
}

int main(int count, char **arguments)
{
    char here;
    top = &here;
    if (count > 1)
        stated_rate = (uint32_t)strtoul(arguments[1], NULL, 10);
    serve(board_init());
}
