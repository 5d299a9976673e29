/* Start-up of a program for 64-bit Arm Linux that needs no library. */
#include "board.h"
#include "stack.h"

static uint32_t stack[16384] __attribute__((aligned(16), used));

/* The top of the stack is its end, so that the room below it can be painted. */
__asm(".pushsection .text.reset_handler, \"ax\"\n"
      ".global reset_handler\n.type reset_handler, %function\nreset_handler:\n"
      "\tadrp x0, stack\n\tadd x0, x0, :lo12:stack\n\tmov x1, #65536\n\tadd sp, x0, x1\n\tb start_up\n"
      ".size reset_handler, . - reset_handler\n.popsection");

__attribute__((used)) static void start_up(void)
{
    paint_stack(stack);
    serve(board_init());
}

uint32_t board_stack(void)
{
    return stack_used(stack, stack + 16384);
}
