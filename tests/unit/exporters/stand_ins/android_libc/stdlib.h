/* Stands in for Android's C library: what the JNI code calls. */
#include <stddef.h>
void *calloc(size_t count, size_t size);
void free(void *memory);
