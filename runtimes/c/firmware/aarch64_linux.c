/* Start-up of a program for 64-bit Arm Linux that needs no library. */
#include "board.h"
#include "stack.h"

static uint32_t stack[16384] __attribute__((aligned(16), used));

__attribute__((naked, used)) void reset_handler(void)
{
    __asm volatile("adrp x0, stack\n\tadd x0, x0, :lo12:stack\n\tmov x1, #65536\n\tadd sp, x0, x1\n\tb start_up");
}

__attribute__((used)) static void start_up(void)
{
    paint_stack(stack);
    serve(board_init());
}

uint32_t board_stack(void)
{
    return stack_used(stack, stack + 16384);
}
