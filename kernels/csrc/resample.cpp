// A polyphase FIR filter over a stream of samples. Outputs of one phase are computed side by side, each as the same sum in the
// same order wherever it stands, so any split of a stream gives the same bits.
#include "common.h"

static const int LANES = 16; // outputs side by side
static const int CHAINS = 4; // sums of each, since a sum waits for the one before it

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi" // no line is passed between functions that are not inlined
typedef float Line __attribute__((vector_size(LANES * sizeof(float)))); // which stays in registers, where an array does not
#else
struct Line {
    float lanes[LANES];
    float operator[](int i) const { return lanes[i]; }
};
static inline Line operator+(const Line &a, const Line &b) {
    Line sum;
    for (int i = 0; i < LANES; ++i) sum.lanes[i] = a[i] + b[i];
    return sum;
}
static inline Line operator*(const Line &a, float b) {
    Line product;
    for (int i = 0; i < LANES; ++i) product.lanes[i] = a[i] * b;
    return product;
}
#endif

static inline Line line_at(const float *x) {
    Line line;
#if defined(__GNUC__)
    __builtin_memcpy(&line, x, sizeof line);
#else
    for (int i = 0; i < LANES; ++i) line.lanes[i] = x[i];
#endif
    return line;
}

// Output i stands at (next + i · down) / up samples from x's first; its filter is that of the rest, one of up. taps is a multiple
// of CHAINS. work: down rows of `width`, into which x (n) is dealt out like cards, zeros after it, so that the samples that
// neighbours of one phase need for a tap lie side by side.
KERNEL(resample)
(const float *x, int64_t n, const float *filters, float *out, int64_t count, int64_t next, int64_t up, int64_t down, int64_t taps,
 float *work, int64_t width) {
    fill(work, 0, down * width);
    for (int64_t i = 0, row = 0, column = 0; i < n; ++i) {
        work[row * width + column] = x[i];
        if (++row == down) row = 0, ++column;
    }
    for (int64_t first = 0; first < min_of(up, count); ++first) {
        const int64_t place = next + first * down, start = place / up;
        const float *filter = filters + place % up * taps;
        for (int64_t at = first; at < count; at += LANES * up) {
            Line sums[CHAINS] = {};
            int64_t row = start % down;
            const float *cards = work + row * width + start / down + (at - first) / up;
            for (int64_t tap = 0; tap < taps; tap += CHAINS) {
                for (int chain = 0; chain < CHAINS; ++chain) {
                    sums[chain] = sums[chain] + line_at(cards) * filter[tap + chain];
                    cards += width;
                    if (++row == down) row = 0, cards += 1 - down * width;
                }
            }
            const Line sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
            for (int64_t lane = 0; lane < LANES && at + lane * up < count; ++lane) out[at + lane * up] = sum[lane];
        }
    }
}
