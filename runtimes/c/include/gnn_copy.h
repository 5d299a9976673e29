/* Copying bytes where there may be no C library: compilers know memcpy without string.h. */
#ifndef GNN_COPY_H
#define GNN_COPY_H

#if defined(__GNUC__) || defined(__clang__)
#define GNN_COPY(y, x, bytes) ((void)__builtin_memcpy((y), (x), (bytes)))
#else
#include <string.h>
#define GNN_COPY(y, x, bytes) ((void)memcpy((y), (x), (bytes)))
#endif

#endif
