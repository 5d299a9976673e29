/* How much stack was used: its room is painted at the start, and the paint that is gone was used. */
#ifndef GNN_FIRMWARE_STACK_H
#define GNN_FIRMWARE_STACK_H

#include <stdint.h>

#define STACK_PAINT 0x5AC3A55Au
#define STACK_WORDS 4096u /* are painted at most: a model takes some hundred bytes of stack */

/* The lowest word of the room that is painted: above the data, and at most STACK_WORDS below the top. */
static inline uint32_t *painted_room(uint32_t *data_end, uint32_t *top)
{
    uint32_t *room = top - STACK_WORDS;
    return (uintptr_t)room > (uintptr_t)data_end ? room : data_end;
}

/* Paints up to the frame of the caller. */
static inline __attribute__((always_inline)) void paint_stack(uint32_t *data_end, uint32_t *top)
{
    volatile uint32_t here = 0; /* lies in the frame that is in use */
    for (volatile uint32_t *word = painted_room(data_end, top); word < &here;)
        *word++ = STACK_PAINT;
}

/* Bytes from the lowest word without paint to the top; all that was painted if the stack grew beyond it. */
static inline uint32_t stack_used(uint32_t *data_end, uint32_t *top)
{
    const uint32_t *room = painted_room(data_end, top);
    while (room < top && *room == STACK_PAINT)
        room++;
    return (uint32_t)((uintptr_t)top - (uintptr_t)room);
}

#endif
