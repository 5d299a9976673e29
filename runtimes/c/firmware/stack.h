/* How much stack was used: its room is painted at the start, and the paint that is gone was used. */
#ifndef GNN_FIRMWARE_STACK_H
#define GNN_FIRMWARE_STACK_H

#include <stdint.h>

#define STACK_PAINT 0x5AC3A55Au

/* Paints from the end of the room up to the frame of the caller. */
static inline __attribute__((always_inline)) void paint_stack(uint32_t *room)
{
    volatile uint32_t here = 0; /* lies in the frame that is in use */
    for (volatile uint32_t *word = room; word < &here;)
        *word++ = STACK_PAINT;
}

/* Bytes from the lowest word without paint to the top. */
static inline uint32_t stack_used(const uint32_t *room, const uint32_t *top)
{
    while (*room == STACK_PAINT)
        room++;
    return (uint32_t)((uintptr_t)top - (uintptr_t)room);
}

#endif
