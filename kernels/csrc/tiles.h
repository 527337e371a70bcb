// Products of rows with a matrix that a recurrence multiplies by at every frame: x (rows, K) M (K, N). M is laid out once, in
// tiles of COLUMNS columns, zeros past the last, each (K, COLUMNS): so a tile is read in order and serves ROWS rows at once.
// In bfloat16 a tile is (K / 2, COLUMNS, 2), a zero after an odd K, which is half of the memory to read; x stays as it is.
#pragma once

#include "common.h"
#include "vectormath.h"

static const int COLUMNS = 48; // as in audiorec_kernels/rnn/native.py

// As many sums as the registers hold.
#if defined(__AVX512F__)
static const int ROWS = 8;
#elif defined(__AVX2__)
static const int ROWS = 2;
#else
static const int ROWS = 1;
#endif

template <int N>
static inline void tile(int64_t K, const float *__restrict x, int64_t x_row, const float *__restrict matrix, int64_t columns,
                        float *__restrict y, int64_t y_row) {
    float sums[N][COLUMNS] = {};
    for (int64_t k = 0; k < K; ++k, matrix += COLUMNS) {
        for (int m = 0; m < N; ++m) {
            const float value = x[m * x_row + k];
            SIMD for (int i = 0; i < COLUMNS; ++i) sums[m][i] += value * matrix[i];
        }
    }
    for (int m = 0; m < N; ++m)
        for (int64_t i = 0; i < columns; ++i) y[m * y_row + i] += sums[m][i];
}

// The same of a tile of bfloat16, two rows of the matrix in a number, the first in its low bits.
template <int N>
static inline void tile(int64_t K, const float *__restrict x, int64_t x_row, const uint32_t *__restrict matrix,
                        int64_t columns, float *__restrict y, int64_t y_row) {
    float sums[N][COLUMNS] = {}, wide[COLUMNS];
    for (int64_t k = 0; k < K; k += 2, matrix += COLUMNS) {
        SIMD for (int i = 0; i < COLUMNS; ++i) wide[i] = from_bits((int32_t)(matrix[i] << 16));
        for (int m = 0; m < N; ++m) {
            const float value = x[m * x_row + k];
            SIMD for (int i = 0; i < COLUMNS; ++i) sums[m][i] += value * wide[i];
        }
        if (k + 1 == K) break;
        SIMD for (int i = 0; i < COLUMNS; ++i) wide[i] = from_bits((int32_t)(matrix[i] & 0xffff0000u));
        for (int m = 0; m < N; ++m) {
            const float value = x[m * x_row + k + 1];
            SIMD for (int i = 0; i < COLUMNS; ++i) sums[m][i] += value * wide[i];
        }
    }
    for (int m = 0; m < N; ++m)
        for (int64_t i = 0; i < columns; ++i) y[m * y_row + i] += sums[m][i];
}

static inline bool is_narrow(const float *) { return false; }
static inline bool is_narrow(const uint32_t *) { return true; }

// y (rows, N) += x (rows, K) M. Rows of x and y lie x_row and y_row apart; a tile has K numbers a column, or K / 2 pairs.
template <class Number>
static void add_product(int64_t rows, int64_t K, int64_t N, const float *x, int64_t x_row, const Number *tiles, float *y,
                        int64_t y_row) {
    const int64_t step = (is_narrow(tiles) ? (K + 1) / 2 : K) * COLUMNS;
    for (int64_t n = 0; n < N; n += COLUMNS, tiles += step) {
        const int64_t columns = min_of(COLUMNS, N - n);
        int64_t m = 0;
        for (; m + ROWS <= rows; m += ROWS) tile<ROWS>(K, x + m * x_row, x_row, tiles, columns, y + m * y_row + n, y_row);
        for (; m < rows; ++m) tile<1>(K, x + m * x_row, x_row, tiles, columns, y + m * y_row + n, y_row);
    }
}

// Columns of a matrix with the zeros past the last.
static inline int64_t tiled(int64_t columns) { return (columns + COLUMNS - 1) / COLUMNS * COLUMNS; }
