/* Start-up of a 32-bit RISC-V in machine mode: memory, and a trap handler that says where it happened. */
#include "board.h"
#include "stack.h"

extern uint32_t firmware_data[], firmware_data_end[], firmware_bss_end[], firmware_paint[], firmware_stack_top[];
extern const uint32_t firmware_data_load[];

__attribute__((naked, section(".vectors"), used)) void reset_handler(void)
{
    __asm volatile("la sp, firmware_stack_top\n\tla t0, trap_handler\n\tcsrw mtvec, t0\n\tj start_up");
}

__attribute__((used)) static void start_up(void)
{
    const uint32_t *load = firmware_data_load;
    for (uint32_t *word = firmware_data; word < firmware_data_end;)
        *word++ = *load++;
    for (uint32_t *word = firmware_data_end; word < firmware_bss_end;)
        *word++ = 0;
    paint_stack(firmware_paint);
    serve(board_init());
}

uint32_t board_stack(void)
{
    return stack_used(firmware_paint, firmware_stack_top);
}

/* Interrupts stay off, so every trap is a fault. struct fault on the stack: mcause, mepc, ra, mtval. */
__attribute__((naked, aligned(4), used)) static void trap_handler(void)
{
    __asm volatile("addi sp, sp, -16\n\tcsrr t0, mcause\n\tsw t0, 0(sp)\n\tcsrr t0, mepc\n\tsw t0, 4(sp)\n\t"
                   "sw ra, 8(sp)\n\tcsrr t0, mtval\n\tsw t0, 12(sp)\n\tmv a0, sp\n\tj serve_fault");
}
