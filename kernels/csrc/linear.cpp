// y = start + x W': x (M, K), W (N, K), y (M, N), start (N,) or (M, N) or none. For few rows, as a live stream has, of which
// the weights are all the work: they are read once, in order, asked for ahead of time, and every row takes its share of a
// row of them. How many rows there are changes no row's sum.
#include "common.h"

namespace {

const int LANES = 16;
const int64_t AHEAD = 1024; // floats: what memory needs to answer

#define EACH_LANE SIMD for (int i = 0; i < LANES; ++i)

inline void foresee_line(const float *x) {
#if defined(__GNUC__)
    __builtin_prefetch(x);
#else
    (void)x;
#endif
}

// One row of W by ROWS rows of x. ASK: it is the first time that these weights are read.
template <int ROWS, bool ASK>
inline void dots(const float *__restrict w, const float *__restrict x, int64_t K, float *__restrict to) {
    float sums[ROWS][LANES] = {};
    int64_t k = 0;
    for (; k + LANES <= K; k += LANES) {
        if (ASK) foresee_line(w + k + AHEAD);
        for (int m = 0; m < ROWS; ++m) EACH_LANE sums[m][i] += w[k + i] * x[m * K + k + i];
    }
    if (k < K) { // the rest, as a whole line with zeros
        float last[LANES] = {}, mine[LANES] = {};
        copy(last, w + k, K - k);
        for (int m = 0; m < ROWS; ++m) {
            copy(mine, x + m * K + k, K - k);
            EACH_LANE sums[m][i] += last[i] * mine[i];
        }
    }
    for (int m = 0; m < ROWS; ++m) {
        float sum[LANES / 2];
        SIMD for (int i = 0; i < LANES / 2; ++i) sum[i] = sums[m][i] + sums[m][i + LANES / 2];
        to[m] = ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
    }
}

template <bool ASK>
void dots(int64_t rows, const float *w, const float *x, int64_t K, float *to) {
    switch (rows) {
    case 1: return dots<1, ASK>(w, x, K, to);
    case 2: return dots<2, ASK>(w, x, K, to);
    case 3: return dots<3, ASK>(w, x, K, to);
    default: return dots<4, ASK>(w, x, K, to);
    }
}

} // namespace

KERNEL(linear)(int64_t rows, int64_t K, int64_t N, int64_t start_row, const float *x, const float *weight,
               const float *start, float *y, int64_t threads) {
    const int64_t pieces = threads > 1 ? min_of(threads, max_of(1, N / 64)) : 1, size = (N + pieces - 1) / pieces;
    parallel(pieces, threads, [=](int64_t piece) {
        const int64_t end = min_of(N, (piece + 1) * size);
        for (int64_t n = piece * size; n < end; ++n) {
            for (int64_t m = 0; m < rows; m += 4) {
                float sums[4];
                const int64_t few = min_of(4, rows - m);
                if (m == 0) dots<true>(few, weight + n * K, x, K, sums);
                else dots<false>(few, weight + n * K, x + m * K, K, sums);
                for (int64_t i = 0; i < few; ++i)
                    y[(m + i) * N + n] = sums[i] + (start ? start[(m + i) * start_row + n] : 0.0f);
            }
        }
    });
}
