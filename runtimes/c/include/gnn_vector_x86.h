/* Vectors of 16 or 8 int32 on x86: what the integer kernels need of AVX-512 and AVX2, under the same names. */
#ifndef GNN_VECTOR_X86_H
#define GNN_VECTOR_X86_H

#include "gnn_copy.h"
#include "gnn_requantize.h"

#if defined(GNN_X86)

#include <immintrin.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__AVX512BW__) && defined(__AVX512VL__)

#define GNN_VECTOR 16u
typedef __m512i gnn_vector;

static GNN_INLINE gnn_vector gnn_all(int32_t value)
{
    return _mm512_set1_epi32(value);
}

static GNN_INLINE __mmask16 gnn_first(uint32_t count)
{
    return (__mmask16)((1u << count) - 1u);
}

/* The first `count` words, then zeros. */
static GNN_INLINE gnn_vector gnn_load_words(const void *x, uint32_t count)
{
    return count == GNN_VECTOR ? _mm512_loadu_si512(x) : _mm512_maskz_loadu_epi32(gnn_first(count), x);
}

static GNN_INLINE gnn_vector gnn_load_bytes(const uint8_t *x, uint32_t count)
{
    return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(gnn_first(count), x));
}

static GNN_INLINE void gnn_store_words(void *y, gnn_vector x, uint32_t count)
{
    _mm512_mask_storeu_epi32(y, gnn_first(count), x);
}

static GNN_INLINE void gnn_store_vector(gnn_vector codes, uint32_t count, gnn_type type, void *y)
{
    if (type == GNN_S8) {
        _mm_mask_storeu_epi8(y, gnn_first(count), _mm512_cvtepi32_epi8(codes));
    } else {
        _mm256_mask_storeu_epi16(y, gnn_first(count), _mm512_cvtepi32_epi16(codes));
    }
}

/* acc + the sum of the two products of int16 in each lane. */
static GNN_INLINE gnn_vector gnn_add_products(gnn_vector acc, gnn_vector a, gnn_vector b)
{
#if defined(__AVX512VNNI__)
    return _mm512_dpwssd_epi32(acc, a, b);
#else
    return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b));
#endif
}

/* Words become pairs of int16: bytes 0 and 2, or 1 and 3. */
static GNN_INLINE gnn_vector gnn_even_bytes(gnn_vector x)
{
    return _mm512_srai_epi16(_mm512_slli_epi16(x, 8), 8);
}

static GNN_INLINE gnn_vector gnn_odd_bytes(gnn_vector x)
{
    return _mm512_srai_epi16(x, 8);
}

static GNN_INLINE gnn_vector gnn_plus(gnn_vector a, gnn_vector b)
{
    return _mm512_add_epi32(a, b);
}

static GNN_INLINE gnn_vector gnn_bounded(gnn_vector x, int32_t low, int32_t high)
{
    return _mm512_min_epi32(_mm512_max_epi32(x, gnn_all(low)), gnn_all(high));
}

static GNN_INLINE gnn_vector gnn_shifted_left(gnn_vector x, gnn_vector by)
{
    return _mm512_sllv_epi32(x, by);
}

static GNN_INLINE gnn_vector gnn_shifted_right(gnn_vector x, gnn_vector by)
{
    return _mm512_srav_epi32(x, by);
}

static GNN_INLINE gnn_vector gnn_high_words(gnn_vector a, gnn_vector b)
{
    const gnn_vector even = _mm512_srli_epi64(_mm512_mul_epi32(a, b), 32);
    const gnn_vector odd = _mm512_mul_epi32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    return _mm512_mask_blend_epi32(0xAAAA, even, odd);
}

/* gnn_srdhm of each lane. */
static GNN_INLINE gnn_vector gnn_doubled_high(gnn_vector a, int32_t r)
{
    const gnn_vector half = _mm512_set1_epi64((int64_t)1 << 30), factor = gnn_all(r);
    const gnn_vector even = _mm512_add_epi64(_mm512_mul_epi32(a, factor), half);
    const gnn_vector odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a, 32), factor), half);
    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
}

static GNN_INLINE gnn_vector gnn_times(gnn_vector a, gnn_vector b)
{
    return _mm512_mullo_epi32(a, b);
}

/* The first `count` codes of 8 bits, then zeros: a lane each, or twice as many lanes of 16 bits. */
static GNN_INLINE gnn_vector gnn_load_codes(const int8_t *x, uint32_t count)
{
    return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(gnn_first(count), x));
}

static GNN_INLINE gnn_vector gnn_load_shorts(const int8_t *x, uint32_t count)
{
    return _mm512_cvtepi8_epi16(count == 32u ? _mm256_loadu_si256((const __m256i *)(const void *)x) :
                                               _mm256_maskz_loadu_epi8((__mmask32)((1u << count) - 1u), x));
}

static GNN_INLINE gnn_vector gnn_plus_shorts(gnn_vector a, gnn_vector b)
{
    return _mm512_add_epi16(a, b);
}

static GNN_INLINE gnn_vector gnn_first_half(gnn_vector shorts)
{
    return _mm512_cvtepi16_epi32(_mm512_castsi512_si256(shorts));
}

static GNN_INLINE gnn_vector gnn_second_half(gnn_vector shorts)
{
    return _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(shorts, 1));
}

/* x[i] lane j becomes x[j] lane i. */
static GNN_INLINE void gnn_transpose(gnn_vector x[GNN_VECTOR])
{
    gnn_vector by_four[4][4]; /* [g][j]: column 4 L + j of rows 4 g .. 4 g + 3 in 128-bit lane L */
    uint32_t g, j;
    for (g = 0; g < 4u; ++g) {
        const gnn_vector a = _mm512_unpacklo_epi32(x[4u * g], x[4u * g + 1u]), b = _mm512_unpackhi_epi32(x[4u * g], x[4u * g + 1u]);
        const gnn_vector c = _mm512_unpacklo_epi32(x[4u * g + 2u], x[4u * g + 3u]), d = _mm512_unpackhi_epi32(x[4u * g + 2u], x[4u * g + 3u]);
        by_four[g][0] = _mm512_unpacklo_epi64(a, c);
        by_four[g][1] = _mm512_unpackhi_epi64(a, c);
        by_four[g][2] = _mm512_unpacklo_epi64(b, d);
        by_four[g][3] = _mm512_unpackhi_epi64(b, d);
    }
    for (j = 0; j < 4u; ++j) {
        const gnn_vector a = _mm512_shuffle_i32x4(by_four[0][j], by_four[1][j], 0x44), b = _mm512_shuffle_i32x4(by_four[0][j], by_four[1][j], 0xEE);
        const gnn_vector c = _mm512_shuffle_i32x4(by_four[2][j], by_four[3][j], 0x44), d = _mm512_shuffle_i32x4(by_four[2][j], by_four[3][j], 0xEE);
        x[j] = _mm512_shuffle_i32x4(a, c, 0x88);
        x[4u + j] = _mm512_shuffle_i32x4(a, c, 0xDD);
        x[8u + j] = _mm512_shuffle_i32x4(b, d, 0x88);
        x[12u + j] = _mm512_shuffle_i32x4(b, d, 0xDD);
    }
}

#else

#define GNN_VECTOR 8u
typedef __m256i gnn_vector;

static GNN_INLINE gnn_vector gnn_all(int32_t value)
{
    return _mm256_set1_epi32(value);
}

static GNN_INLINE gnn_vector gnn_first(uint32_t count)
{
    return _mm256_cmpgt_epi32(gnn_all((int32_t)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* The first `count` words, then zeros. */
static GNN_INLINE gnn_vector gnn_load_words(const void *x, uint32_t count)
{
    return count == GNN_VECTOR ? _mm256_loadu_si256((const __m256i *)x) : _mm256_maskload_epi32((const int *)x, gnn_first(count));
}

static GNN_INLINE gnn_vector gnn_load_bytes(const uint8_t *x, uint32_t count)
{
    uint8_t bytes[GNN_VECTOR] = {0};
    GNN_COPY(bytes, x, count);
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
}

static GNN_INLINE void gnn_store_words(void *y, gnn_vector x, uint32_t count)
{
    _mm256_maskstore_epi32((int *)y, gnn_first(count), x);
}

static GNN_INLINE void gnn_store_vector(gnn_vector codes, uint32_t count, gnn_type type, void *y)
{
    const __m128i halves = _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packs_epi32(codes, codes), 0x08));
    int8_t made[16];
    if (type == GNN_S8) {
        _mm_storeu_si128((__m128i *)(void *)made, _mm_packs_epi16(halves, halves));
        GNN_COPY(y, made, count);
    } else {
        _mm_storeu_si128((__m128i *)(void *)made, halves);
        GNN_COPY(y, made, 2u * count);
    }
}

/* acc + the sum of the two products of int16 in each lane. */
static GNN_INLINE gnn_vector gnn_add_products(gnn_vector acc, gnn_vector a, gnn_vector b)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b));
}

/* Words become pairs of int16: bytes 0 and 2, or 1 and 3. */
static GNN_INLINE gnn_vector gnn_even_bytes(gnn_vector x)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
}

static GNN_INLINE gnn_vector gnn_odd_bytes(gnn_vector x)
{
    return _mm256_srai_epi16(x, 8);
}

static GNN_INLINE gnn_vector gnn_plus(gnn_vector a, gnn_vector b)
{
    return _mm256_add_epi32(a, b);
}

static GNN_INLINE gnn_vector gnn_bounded(gnn_vector x, int32_t low, int32_t high)
{
    return _mm256_min_epi32(_mm256_max_epi32(x, gnn_all(low)), gnn_all(high));
}

static GNN_INLINE gnn_vector gnn_shifted_left(gnn_vector x, gnn_vector by)
{
    return _mm256_sllv_epi32(x, by);
}

static GNN_INLINE gnn_vector gnn_shifted_right(gnn_vector x, gnn_vector by)
{
    return _mm256_srav_epi32(x, by);
}

static GNN_INLINE gnn_vector gnn_high_words(gnn_vector a, gnn_vector b)
{
    const gnn_vector even = _mm256_srli_epi64(_mm256_mul_epi32(a, b), 32);
    const gnn_vector odd = _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return _mm256_blend_epi32(even, odd, 0xAA);
}

/* gnn_srdhm of each lane. */
static GNN_INLINE gnn_vector gnn_doubled_high(gnn_vector a, int32_t r)
{
    const gnn_vector half = _mm256_set1_epi64x((int64_t)1 << 30), factor = gnn_all(r);
    const gnn_vector even = _mm256_add_epi64(_mm256_mul_epi32(a, factor), half);
    const gnn_vector odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(a, 32), factor), half);
    return _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
}

static GNN_INLINE gnn_vector gnn_times(gnn_vector a, gnn_vector b)
{
    return _mm256_mullo_epi32(a, b);
}

/* The first `count` codes of 8 bits, then zeros: a lane each, or twice as many lanes of 16 bits. */
static GNN_INLINE gnn_vector gnn_load_codes(const int8_t *x, uint32_t count)
{
    int8_t codes[GNN_VECTOR] = {0};
    GNN_COPY(codes, x, count);
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)codes));
}

static GNN_INLINE gnn_vector gnn_load_shorts(const int8_t *x, uint32_t count)
{
    int8_t codes[2u * GNN_VECTOR] = {0};
    if (count == 2u * GNN_VECTOR) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)x));
    }
    GNN_COPY(codes, x, count);
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)codes));
}

static GNN_INLINE gnn_vector gnn_plus_shorts(gnn_vector a, gnn_vector b)
{
    return _mm256_add_epi16(a, b);
}

static GNN_INLINE gnn_vector gnn_first_half(gnn_vector shorts)
{
    return _mm256_cvtepi16_epi32(_mm256_castsi256_si128(shorts));
}

static GNN_INLINE gnn_vector gnn_second_half(gnn_vector shorts)
{
    return _mm256_cvtepi16_epi32(_mm256_extracti128_si256(shorts, 1));
}

/* x[i] lane j becomes x[j] lane i. */
static GNN_INLINE void gnn_transpose(gnn_vector x[GNN_VECTOR])
{
    gnn_vector by_four[2][4]; /* [g][j]: column 4 L + j of rows 4 g .. 4 g + 3 in 128-bit lane L */
    uint32_t g, j;
    for (g = 0; g < 2u; ++g) {
        const gnn_vector a = _mm256_unpacklo_epi32(x[4u * g], x[4u * g + 1u]), b = _mm256_unpackhi_epi32(x[4u * g], x[4u * g + 1u]);
        const gnn_vector c = _mm256_unpacklo_epi32(x[4u * g + 2u], x[4u * g + 3u]), d = _mm256_unpackhi_epi32(x[4u * g + 2u], x[4u * g + 3u]);
        by_four[g][0] = _mm256_unpacklo_epi64(a, c);
        by_four[g][1] = _mm256_unpackhi_epi64(a, c);
        by_four[g][2] = _mm256_unpacklo_epi64(b, d);
        by_four[g][3] = _mm256_unpackhi_epi64(b, d);
    }
    for (j = 0; j < 4u; ++j) {
        x[j] = _mm256_permute2x128_si256(by_four[0][j], by_four[1][j], 0x20);
        x[4u + j] = _mm256_permute2x128_si256(by_four[0][j], by_four[1][j], 0x31);
    }
}

#endif

#ifdef __cplusplus
}
#endif
#endif
#endif
