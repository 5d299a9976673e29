/* What kernels use of <string.h>, for compilers that bring no C library for a bare processor. memory.c has the functions. */
#ifndef GNN_FIRMWARE_STRING_H
#define GNN_FIRMWARE_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);

#endif
