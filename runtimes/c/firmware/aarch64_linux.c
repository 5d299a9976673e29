/* A 64-bit Arm Linux without any library: start-up and board in one. The host talks to standard input and output. */
#include "board.h"
#include "stack.h"

enum { SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93 };
#define STACK_WORDS 16384u

static uint32_t stack[STACK_WORDS] __attribute__((aligned(16), used));
const char board_name[] = FIRMWARE_BOARD;

__attribute__((naked, used)) void reset_handler(void)
{
    __asm volatile("adrp x0, stack\n\tadd x0, x0, :lo12:stack\n\tmov x1, #65536\n\tadd sp, x0, x1\n\tb start");
}

__attribute__((used)) static void start(void)
{
    paint_stack(stack);
    board_init();
    serve();
}

static long system_call(long number, long a, long b, long c)
{
    register long x8 __asm("x8") = number, x0 __asm("x0") = a, x1 __asm("x1") = b, x2 __asm("x2") = c;
    __asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
