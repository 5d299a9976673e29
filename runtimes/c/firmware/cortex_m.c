/* Start-up of a Cortex-M: vectors, memory, FPU, and a fault handler that says where it happened. */
#include "board.h"
#include "stack.h"

extern uint32_t firmware_data[], firmware_data_end[], firmware_bss_end[], firmware_stack_top[];
extern const uint32_t firmware_data_load[];

void reset_handler(void);
void fault_handler(void);

typedef void (*vector)(void);

/* Interrupts stay off, so the table ends with the system exceptions. */
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)firmware_stack_top, reset_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    fault_handler, fault_handler,
};

#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define CPACR REGISTER(0xE000ED88u)
#define CFSR REGISTER(0xE000ED28u)

void reset_handler(void)
{
    const uint32_t *load = firmware_data_load;
    for (uint32_t *word = firmware_data; word < firmware_data_end;)
        *word++ = *load++;
    for (uint32_t *word = firmware_data_end; word < firmware_bss_end;)
        *word++ = 0;
    paint_stack(firmware_bss_end);
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    CPACR |= 0xFu << 20; /* full access to CP10 and CP11: FPU and MVE */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
    board_init();
    serve();
}

uint32_t board_stack(void)
{
    return stack_used(firmware_bss_end, firmware_stack_top);
}

/* Called by fault_handler with the registers that the processor stacked: r0-r3, r12, lr, pc, xpsr. */
__attribute__((used)) static void fault(const uint32_t *stacked)
{
    uint32_t kind, status = 0;
    __asm volatile("mrs %0, ipsr" : "=r"(kind));
#if __ARM_ARCH >= 7
    status = CFSR;
#endif
    serve_fault(kind, stacked[6], stacked[5], status);
}

__attribute__((naked)) void fault_handler(void)
{
    __asm volatile("mrs r0, msp\n\tldr r1, =fault\n\tbx r1");
}
