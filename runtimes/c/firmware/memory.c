/* The four functions that a C compiler calls on its own, for images that have no C library. Short: kernels move their
 * data themselves. */
#include <stdint.h>
#include <string.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count)
{
    uint8_t *y = to;
    const uint8_t *x = from;
    while (count-- > 0)
        *y++ = *x++;
    return to;
}

void *memmove(void *to, const void *from, size_t count)
{
    uint8_t *y = to;
    const uint8_t *x = from;
    if ((uintptr_t)y <= (uintptr_t)x)
        for (size_t i = 0; i < count; i++)
            y[i] = x[i];
    else
        while (count-- > 0)
            y[count] = x[count];
    return to;
}

void *memset(void *to, int value, size_t count)
{
    uint8_t *y = to;
    while (count-- > 0)
        *y++ = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t count)
{
    const uint8_t *x = a, *y = b;
    for (; count > 0; count--, x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}
