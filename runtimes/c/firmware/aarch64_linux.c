/* A 64-bit Arm Linux without any library: start-up and board in one. The host talks to standard input and output. */
#include "board.h"
#include "stack.h"

enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93 };

static uint32_t stack[16384] __attribute__((aligned(16), used));

__attribute__((naked, used)) void reset_handler(void)
{
    __asm volatile("adrp x0, stack\n\tadd x0, x0, :lo12:stack\n\tmov x1, #65536\n\tadd sp, x0, x1\n\tb start");
}

__attribute__((used)) static void start(void)
{
    paint_stack(stack, stack + 16384);
    serve(board_init());
}

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

uint32_t board_stack(void)
{
    return stack_used(stack, stack + 16384);
}

void board_stop(void)
{
    system_call(SYS_EXIT, 1, 0, 0);
}
