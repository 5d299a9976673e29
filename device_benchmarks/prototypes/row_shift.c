/* Two ways to store node values with a heavy tail: 16 bits, or 8 bits and a shift per row (ARITHMETIC 1.8). For row_shift_study. */
#include <stdint.h>

#define CHANNELS 64u
#define MOST_SHIFT 10u

/* sum[c] of 16-bit rows. */
void sum_s16(const int16_t *x, const uint8_t *shift, const uint16_t *index, uint32_t count, int32_t *sum)
{
    (void)shift;
    for (uint32_t c = 0; c < CHANNELS; ++c) {
        sum[c] = 0;
    }
    for (uint32_t e = 0; e < count; ++e) {
        const int16_t *const row = x + (uint32_t)index[e] * CHANNELS;
        for (uint32_t c = 0; c < CHANNELS; ++c) {
            sum[c] += row[c];
        }
    }
}

/* sum[c] of 8-bit rows, each multiplied by its 2^shift. */
void sum_shifted(const int8_t *x, const uint8_t *shift, const uint16_t *index, uint32_t count, int32_t *sum)
{
    for (uint32_t c = 0; c < CHANNELS; ++c) {
        sum[c] = 0;
    }
    for (uint32_t e = 0; e < count; ++e) {
        const int8_t *const row = x + (uint32_t)index[e] * CHANNELS;
        const int32_t factor = (int32_t)1 << shift[index[e]];
        for (uint32_t c = 0; c < CHANNELS; ++c) {
            sum[c] += row[c] * factor;
        }
    }
}

/* 32-bit values as 16-bit codes. */
void store_s16(const int32_t *y, int16_t *codes, uint8_t *shift)
{
    (void)shift;
    for (uint32_t c = 0; c < CHANNELS; ++c) {
        const int32_t low = y[c] < -32767 ? -32767 : y[c];
        codes[c] = (int16_t)(low > 32767 ? 32767 : low);
    }
}

/* 32-bit values as 8-bit codes with the smallest shift that holds the largest of the row. */
void store_shifted(const int32_t *y, int8_t *codes, uint8_t *shift)
{
    const int32_t most = 127 << MOST_SHIFT;
    int32_t largest = 0;
    uint32_t e = 0;
    for (uint32_t c = 0; c < CHANNELS; ++c) {
        const int32_t magnitude = y[c] < 0 ? -y[c] : y[c];
        largest = magnitude > largest ? magnitude : largest;
    }
    largest = largest > most ? most : largest;
    while (e < MOST_SHIFT && (largest + (((int32_t)1 << e) >> 1)) >> e > 127) {
        ++e;
    }
    for (uint32_t c = 0; c < CHANNELS; ++c) {
        const int32_t bounded = y[c] < -most ? -most : y[c] > most ? most : y[c];
        const int32_t code = (bounded + (((int32_t)1 << e) >> 1)) >> e;
        codes[c] = (int8_t)(code < -127 ? -127 : code > 127 ? 127 : code);
    }
    *shift = (uint8_t)e;
}
