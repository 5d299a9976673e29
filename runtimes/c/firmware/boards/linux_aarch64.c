/* A 64-bit Arm Linux as a board: the host talks to standard input and output. No library is needed. */
#include "board.h"

enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93 };

static long system_call(long number, long a, long b, long c)
{
    register long x8 __asm("x8") = number, x0 __asm("x0") = a, x1 __asm("x1") = b, x2 __asm("x2") = c;
    __asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

uint32_t board_init(void)
{
    uint64_t hz;
    __asm volatile("mrs %0, cntfrq_el0" : "=r"(hz));
    return (uint32_t)hz;
}

uint32_t board_cycles(void)
{
    uint64_t count;
    __asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(count));
    return (uint32_t)count;
}

/* The end of input ends the program. */
uint8_t board_read(void)
{
    static uint8_t buffer[4096];
    static long length, next;
    if (next == length) {
        next = 0;
        length = system_call(SYS_READ, 0, (long)buffer, sizeof buffer);
        if (length <= 0)
            system_call(SYS_EXIT, 0, 0, 0);
    }
    return buffer[next++];
}

/* Sends whole lines. */
void board_write(uint8_t byte)
{
    static uint8_t buffer[4096];
    static long length;
    buffer[length++] = byte;
    if (byte == '\n' || length == sizeof buffer) {
        for (long sent = 0; sent < length;) {
            const long count = system_call(SYS_WRITE, 1, (long)(buffer + sent), length - sent);
            if (count <= 0)
                board_stop();
            sent += count;
        }
        length = 0;
    }
}

void board_stop(void)
{
    system_call(SYS_EXIT, 1, 0, 0);
}
