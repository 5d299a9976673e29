/* The integer Linear with the Arm DSP extension, about one instruction per product.
 *
 * The loop over output channels is written out, since it is where a model spends its time: compilers neither load several registers by one
 * instruction in a loop nor keep this many values in registers. In plain words, for each channel c and row r:
 *     acc[r]  = bias[c] + sum_k x[r][k] w[c][k]                          SMLAD: two products an instruction
 *     m[r]    = multiplier[c], or srdhm(multiplier[c], R[r])             SMMLAR
 *     y[r][c] = saturate((rounding + high(acc[r] m[r])) >> (s - 32))     SMMLA, ASR, SSAT
 * with rounding = 2^(s-33) + z 2^(s-32), which holds the zero point. A channel for which that does not fit is left to C. */
#ifndef GNN_LINEAR_DSP_H
#define GNN_LINEAR_DSP_H

#include "gnn_linear.h"
#include "gnn_linear_loop_dsp.h"

#if defined(GNN_DSP)

#ifdef __cplusplus
extern "C" {
#endif

#define GNN_INTERLEAVED 64u /* longest row that is interleaved on the stack (512 bytes) */

/* What the loop works on. The assembly knows the offsets, stated from `multiplier` on. */
typedef struct gnn_channels {
    uint32_t part;                  /* -20: of in, in fours, beyond groups of 16 where x is interleaved; 4 where x are rows */
    uint32_t bias_minus_multiplier; /* -16: bytes from the multiplier of a channel to its bias; with terms s - 33 of the least shift */
    uint8_t *y_end;                 /* -12 */
    uint32_t in;                    /* -8: bytes of a row of weights */
    const void *x;                  /* -4 */
    const int32_t *multiplier;      /* 0: of the current channel; advances */
    const uint8_t *shift;           /* 4: or term; advances */
    uint8_t *y;                     /* 8: row 0; advances */
    int32_t rounding;               /* 12: 2 z + 1 */
    uint32_t limit;                 /* 16: s - 33 must be less */
    uint32_t scaled;                /* 20: 0 for neither row factors nor a left shift, 1 for factors, 2 for both */
    const int8_t *w;                /* 24: of the current channel; advances */
    uint32_t low, high;             /* 28: of int16, twice; high is 0 for the bounds of int8 */
    uint32_t offset[GNN_ROWS];      /* 36: bytes from row 0 of y to each row */
    int32_t factor[GNN_ROWS];       /* 52: 2 R of each row modulo 2^32, or -1, which leaves m as it is */
    uint32_t left_shift;            /* 68 */
    int32_t start[GNN_ROWS];        /* 72: what the sums of each row start with, beside the bias, for weights of 4 bits */
#if GNN_USES_RARE
    int32_t acc[GNN_ROWS]; /* 88: of a channel that is left to C */
#endif
} gnn_channels;

/* Runs channels until `y_end`; whether it stopped at one that is left to C. Takes the address of `multiplier`. */
static GNN_NOINLINE uint32_t gnn_run_channels_s8(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_DENSE_SUMS, GNN_STORE_S8) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

static GNN_NOINLINE uint32_t gnn_run_channels_s16(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_DENSE_SUMS, GNN_STORE_S16) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

/* The same for weights of 4 bits. */
static GNN_NOINLINE uint32_t gnn_run_nibbles_s8(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_NIBBLE_SUMS(GNN_BIAS), GNN_STORE_S8) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

static GNN_NOINLINE uint32_t gnn_run_nibbles_s16(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP(GNN_NIBBLE_SUMS(GNN_BIAS), GNN_STORE_S16) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

/* The same with terms. */
static GNN_NOINLINE uint32_t gnn_run_terms_s8(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP_OF(GNN_NIBBLE_SUMS(GNN_BIAS_OF_TERM), GNN_SHIFT_OF_TERM, GNN_STORE_S8) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

static GNN_NOINLINE uint32_t gnn_run_terms_s16(const int32_t **multiplier)
{
    register uint32_t at __asm__("r0") = (uint32_t)(uintptr_t)multiplier;
    __asm__ volatile(GNN_CHANNEL_LOOP_OF(GNN_NIBBLE_SUMS(GNN_BIAS_OF_TERM), GNN_SHIFT_OF_TERM, GNN_STORE_S16) : "+r"(at) : : GNN_CLOBBERED);
    return at;
}

/* Runs channels. Weights of 2 bits, and of 4 where x are rows, have been unpacked to 8. */
static GNN_INLINE uint32_t gnn_run_channels(gnn_channels *channels, gnn_type type, int has_nibbles, int has_terms)
{
    const int32_t **const multiplier = &channels->multiplier;
    if (has_terms) {
        return type == GNN_S8 ? gnn_run_terms_s8(multiplier) : gnn_run_terms_s16(multiplier);
    }
    if (has_nibbles) {
        return type == GNN_S8 ? gnn_run_nibbles_s8(multiplier) : gnn_run_nibbles_s16(multiplier);
    }
    return type == GNN_S8 ? gnn_run_channels_s8(multiplier) : gnn_run_channels_s16(multiplier);
}

/* start[r] = - 8 times the sum of row r of interleaved pairs. */
static GNN_INLINE void gnn_sum_pairs(const uint32_t *pairs, uint32_t in, int32_t *start)
{
    int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    __asm__ volatile("1:\n\t"
                     "ldmia %[pairs]!, {r8-r11}\n\t"
                     "smlad %[s0], r8, %[minus], %[s0]\n\t"
                     "smlad %[s1], r9, %[minus], %[s1]\n\t"
                     "smlad %[s2], r10, %[minus], %[s2]\n\t"
                     "smlad %[s3], r11, %[minus], %[s3]\n\t"
                     "subs %[in], #2\n\t"
                     "bne 1b"
                     : [pairs] "+&r"(pairs), [in] "+&r"(in), [s0] "+&r"(s0), [s1] "+&r"(s1), [s2] "+&r"(s2), [s3] "+&r"(s3)
                     : [minus] "r"(0xFFF8FFF8u)
                     : "r8", "r9", "r10", "r11", "cc", "memory");
    start[0] = s0;
    start[1] = s1;
    start[2] = s2;
    start[3] = s3;
}

/* Pairs of GNN_ROWS rows side by side, so that one LDM loads a pair of every row: y[4 j + r] = pair j of row r. */
static GNN_INLINE void gnn_interleave(const int16_t *x, uint32_t in, uint32_t *y)
{
    const int16_t *const end = x + in;
    const int16_t *x1 = x + in, *x2 = x1 + in, *x3 = x2 + in;
    __asm__ volatile("1:\n\t"
                     "ldr r8, [%[x]], #4\n\t"
                     "ldr r9, [%[x1]], #4\n\t"
                     "ldr r10, [%[x2]], #4\n\t"
                     "ldr r11, [%[x3]], #4\n\t"
                     "stmia %[y]!, {r8-r11}\n\t"
                     "cmp %[x], %[end]\n\t"
                     "bne 1b"
                     : [x] "+&r"(x), [x1] "+&r"(x1), [x2] "+&r"(x2), [x3] "+&r"(x3), [y] "+&r"(y)
                     : [end] "r"(end) /* x1 starts there */
                     : "r8", "r9", "r10", "r11", "cc", "memory");
}

/* sum + the product of a row with the weights of an output channel. */
static GNN_INLINE int32_t gnn_dot(int32_t sum, const int16_t *x, const int8_t *w, uint32_t in)
{
    const int8_t *const end = w + in;
    do {
        uint32_t four, x01, x23;
        GNN_COPY(&four, w, 4u);
        GNN_COPY(&x01, x, 4u);
        GNN_COPY(&x23, x + 2, 4u);
        __asm__("sxtb16 r12, %1\n\t"
                "smlad %0, %2, r12, %0\n\t"
                "sxtb16 r12, %1, ror #8\n\t"
                "smlad %0, %3, r12, %0"
                : "+&r"(sum)
                : "r"(four), "r"(x01), "r"(x23)
                : "r12");
        x += 4;
        w += 4;
    } while (w != end);
    return sum;
}

/* y[r][c] = the accumulator, for GNN_S32: few channels as a rule. */
static GNN_INLINE void gnn_linear_sums(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, int32_t *y, int8_t *scratch)
{
    const uint32_t in = gnn_padded(layer->in), out = layer->out;
    uint32_t c, r;
    for (c = 0; c < out; ++c) {
        const int8_t *const w = gnn_weights(layer, c, scratch);
        for (r = 0; r < rows; ++r) {
            y[r * out + c] = gnn_dot(layer->bias[c], x + r * in, w, in);
        }
    }
}

/* Prepares all that does not change from channel to channel. */
static GNN_INLINE void gnn_start_channels(gnn_channels *channels, const gnn_requant *requant, uint32_t rows, const int32_t *row_factor,
                                          gnn_type type, uint32_t y_stride)
{
    const int is_s8 = requant->low == -128 && requant->high == 127;
    uint32_t r, offset = 0;
    channels->rounding = 2 * requant->zero_point + 1;
    if (GNN_USES_RARE) {
        const int is_usual = (uint32_t)(requant->zero_point + 128) <= 255u && (type != GNN_S8 || is_s8);
        channels->limit = is_usual ? GNN_ROUNDING_LIMIT : 0u; /* or all channels are left to C */
    }
    if (type == GNN_S16) {
        channels->low = gnn_both_halves(requant->low);
        channels->high = is_s8 ? 0u : gnn_both_halves(requant->high);
    }
    if (!GNN_USES_ROW_FACTOR) {
        row_factor = NULL;
    }
    channels->left_shift = GNN_USES_LEFT_SHIFT ? requant->left_shift : 0u;
    channels->scaled = channels->left_shift != 0u ? 2u : row_factor != NULL;
    for (r = 0; r < GNN_ROWS; ++r) {
        channels->offset[r] = offset;
        channels->factor[r] = row_factor == NULL ? -1 : (int32_t)((uint32_t)*row_factor * 2u);
        if (r + 1u < rows) { /* rows too many are stored where the last one then overwrites them */
            offset += type == GNN_S8 ? y_stride : y_stride * 2u;
            row_factor += row_factor != NULL;
        }
    }
}

#if GNN_USES_RARE
/* Stores the channel that was left to C; `at` is where its requantization is. */
static GNN_INLINE void gnn_store_channel(gnn_channels *channels, const gnn_requant *requant, uint32_t at, uint32_t rows,
                                         const int32_t *row_factor, gnn_type type)
{
    uint32_t r;
    for (r = 0; r < rows; ++r) {
        gnn_scale scale;
        gnn_set_scale(&scale, requant, at, row_factor == NULL ? GNN_NO_FACTOR : row_factor[r]);
        gnn_store_codes(&scale, &channels->acc[r], 1, type, channels->y + channels->offset[r]);
    }
    channels->y += type == GNN_S8 ? 1u : 2u;
    ++channels->multiplier;
    ++channels->shift;
}
#endif

/* y[r][c] = code; GNN_S32 is left to gnn_linear_sums. */
static GNN_INLINE void gnn_linear_block(const gnn_linear_layer *layer, const int16_t *x, uint32_t rows, const int32_t *row_factor,
                                        gnn_type type, void *y, uint32_t y_stride, int8_t *scratch)
{
    const gnn_requant *const requant = &layer->requant;
    const uint32_t in = gnn_padded(layer->in), bits = gnn_weight_bits(layer), bytes = type == GNN_S8 ? 1u : 2u;
    const uint32_t per_channel = !GNN_USES_ONE_MULTIPLIER || requant->per_channel;
    const int is_interleaved = !GNN_USES_LONG_ROWS || in <= GNN_INTERLEAVED;
    const int has_nibbles = GNN_USES_WEIGHTS_OF_4_BITS && bits == 4u && is_interleaved;
    const int is_whole = per_channel && (bits == 8u || has_nibbles);
    const int has_terms = has_nibbles && GNN_USES_TERMS && (!GNN_USES_NO_TERMS || layer->terms != NULL);
    const uint8_t *weight = layer->weight;
    uint8_t *const y_last = (uint8_t *)y + layer->out * bytes;
    uint32_t pairs[GNN_INTERLEAVED * GNN_ROWS / 2u];
    gnn_channels channels;
    channels.in = in;
    if (is_interleaved) {
        gnn_interleave(x, in, pairs);
        channels.part = in / 4u % 4u;
        channels.x = pairs;
    } else {
        channels.part = 4;
        channels.x = x;
    }
    if (has_nibbles) {
        gnn_sum_pairs(pairs, in, channels.start);
        channels.in = in / 2u;
    }
    gnn_start_channels(&channels, requant, rows, row_factor, type, y_stride);
    channels.multiplier = requant->multiplier;
    channels.shift = has_terms ? (const uint8_t *)layer->terms : requant->shift;
    channels.bias_minus_multiplier =
        has_terms ? requant->shift[0] - GNN_HIGH_SHIFT : (uint32_t)((uintptr_t)layer->bias - (uintptr_t)channels.multiplier);
    channels.y = (uint8_t *)y;
    channels.w = (const int8_t *)weight;
    do {
        uint32_t left_to_c;
        channels.y_end = y_last;
        if (bits != 8u && !has_nibbles) {
            gnn_unpack(weight, bits, in, scratch);
            weight += in * bits / 8u;
            channels.w = scratch;
        }
        if (!is_whole) { /* one channel at a time */
            channels.y_end = channels.y + bytes;
        }
        left_to_c = gnn_run_channels(&channels, type, has_nibbles, has_terms);
#if GNN_USES_RARE
        if (left_to_c != 0u) {
            gnn_store_channel(&channels, requant, (uint32_t)(channels.shift - requant->shift), rows, row_factor, type);
        }
#else
        (void)left_to_c;
#endif
        if (!per_channel) {
            --channels.multiplier;
            --channels.shift;
            channels.bias_minus_multiplier += 4u;
        }
    } while ((GNN_USES_RARE || !is_whole) && channels.y != y_last);
}

#ifdef __cplusplus
}
#endif
#endif
#endif
