/* Start-up of a Cortex-M: vectors, memory, FPU, and a fault handler that says where it happened. */
#include "board.h"
#include "stack.h"

extern uint32_t firmware_data[], firmware_data_end[], firmware_bss_end[], firmware_paint[], firmware_stack_top[];
extern const uint32_t firmware_data_load[];

void reset_handler(void);
void fault_handler(void);

typedef void (*vector)(void);

/* Stack, reset, NMI, HardFault. Nothing else comes: interrupts stay off, and so do the other faults, which are HardFaults then. */
__attribute__((section(".vectors"), used)) static const vector vectors[4] = {
    (vector)(uintptr_t)firmware_stack_top, reset_handler, fault_handler, fault_handler,
};

/* First of all full access to CP10 and CP11: the compiler may use FPU and MVE registers for anything from here on. */
__attribute__((naked)) void reset_handler(void)
{
    __asm volatile(
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
        "ldr r0, =0xE000ED88\n\tldr r1, [r0]\n\torr r1, r1, #0xF00000\n\tstr r1, [r0]\n\tdsb\n\tisb\n\t"
#endif
        "b start_up");
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

/* struct fault on the stack: the exception number, pc and lr as the processor stacked them, and CFSR where there is one. */
__attribute__((naked)) void fault_handler(void)
{
    __asm volatile("mrs r0, ipsr\n\t"
                   "ldr r1, [sp, #24]\n\t"
                   "ldr r2, [sp, #20]\n\t"
#if __ARM_ARCH_ISA_THUMB > 1 && __ARM_ARCH >= 7
                   "ldr r3, =0xE000ED28\n\t"
                   "ldr r3, [r3]\n\t"
#else
                   "movs r3, #0\n\t"
#endif
                   "push {r0-r3}\n\t"
                   "mov r0, sp\n\t"
                   "bl serve_fault");
}
