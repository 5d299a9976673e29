/* Which instructions the integer kernels use, and how they share code. */
#ifndef GNN_VARIANT_H
#define GNN_VARIANT_H

#include "gnn_uses.h"

/* Every variant gives the same codes; -DGNN_PLAIN_C asks for C without special instructions. */
#if !defined(GNN_PLAIN_C)
#if defined(__ARM_FEATURE_MVE)
#define GNN_MVE 1 /* vectors of 16 bytes: Cortex-M55 */
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_DSP 1 /* two products of 16 bits an instruction: Cortex-M4, M7, M33 */
#elif defined(__AVX2__)
#define GNN_X86 1 /* vectors of 32 bytes, or 64 with AVX-512 */
#endif
#endif

/* Whether plain C may become vectors. */
#if defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__) || defined(__riscv_vector)
#define GNN_VECTORS 1
#endif

/* The body of a kernel, specialized by its constant arguments at every level of optimization. */
#if defined(__GNUC__)
#define GNN_INLINE inline __attribute__((always_inline))
#else
#define GNN_INLINE inline
#endif

/* A function with assembly, which compilers would copy where they unroll or rotate the loop around it. */
#if defined(__GNUC__)
#define GNN_NOINLINE __attribute__((noinline, unused))
#else
#define GNN_NOINLINE
#endif

/* A part of several kernels. A microcontroller has it once: the linker takes one of the equal weak definitions, and --gc-sections drops
 * the others. Elsewhere speed matters more, and compilers inline it. */
#if defined(__GNUC__) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && defined(GNN_ONE_FILE)
#define GNN_SHARED static __attribute__((unused))
#elif defined(__GNUC__) && defined(__ELF__) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define GNN_SHARED __attribute__((weak, noinline))
#else
#define GNN_SHARED static inline
#endif

#endif
