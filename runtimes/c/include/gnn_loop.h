/* Loops of a constant number of steps over local sums, which compilers should keep in vector registers, or in scalar ones where there are no others. */
#ifndef GNN_LOOP_H
#define GNN_LOOP_H

/* gcc -O3 unrolls a loop of 16 steps before it looks for vectors, and then finds none. With this limit it vectorizes first. */
#if defined(__GNUC__) && !defined(__clang__)
#define GNN_VECTOR_LOOP _Pragma("GCC unroll 8")
#else
#define GNN_VECTOR_LOOP
#endif

/* Steps of such a loop: four vectors of 128 bits. Cortex-M has no float vectors but 32 registers. */
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_LANES 4u
#else
#define GNN_LANES 16u
#endif

#endif
