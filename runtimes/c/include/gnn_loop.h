/* Loops of a constant number of steps over local sums, which compilers should keep in vector registers, or in scalar ones where there are no others. */
#ifndef GNN_LOOP_H
#define GNN_LOOP_H

/* Steps of such a loop over one row of sums, and over each of four rows of sums: 16 vectors of 128 bits at most, or, on Cortex-M, which
 * has 32 float registers but no float vectors, 16 of them. */
#define GNN_LANES 16u
#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_LANES_OF_FOUR 4u
#else
#define GNN_LANES_OF_FOUR 16u
#endif

/* gcc -O3 unrolls a loop of 16 steps before it looks for vectors, and then finds none. With a limit it vectorizes first. */
#if !defined(__GNUC__) || defined(__clang__)
#define GNN_VECTOR_LOOP
#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_VECTOR_LOOP _Pragma("GCC unroll 16")
#else
#define GNN_VECTOR_LOOP _Pragma("GCC unroll 8")
#endif

#endif
