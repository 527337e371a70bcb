// Mamba's selective scan: h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t, y_t = (C_t h_t + D u_t) SiLU(z_t);
// u, dt, z, y (B, T, D), A (D, N), B, C (B, T, N), h (B, D, N), lengths (B,), reset (B, T).
//
// The work goes tile by tile of LANES channels, whose states stand as (N, LANES): one vector instruction advances one state
// of each channel.
#pragma once

#include <cstdlib>

#include "common.h"
#include "vectormath.h"

namespace {

const int LANES = 16;
const float LOG2E = 1.44269504f;

#define EACH_LANE SIMD for (int i = 0; i < LANES; ++i)

struct Inputs {
    int64_t batch, time, dim, states, softplus, chunk, z_row, z_frame;
    const float *u, *dt, *A, *B, *C, *D, *z, *dt_bias, *initial;
    const int64_t *lengths;
    const uint8_t *reset;

    bool resets(int64_t frame) const { return reset && reset[frame]; }
};

// Zeros, given back at the end of the scope.
struct Memory {
    void *all;
    float *next;

    explicit Memory(int64_t floats) : all(calloc(floats + 16, sizeof(float))) {
        next = (float *)(((uintptr_t)all + 63) / 64 * 64);
    }
    Memory(const Memory &) = delete;
    ~Memory() { free(all); }

    float *take(int64_t floats) {
        next += floats;
        return next - floats;
    }
};

// 2^x, 7e-8 of relative error before rounding; below -126, where exact values are subnormal or 0, something as small or 0.
// The exponentials of dt A are most of the work, and this is half of exp_of.
inline float exp2_of(float x) {
    x = x < -127.0f ? -127.0f : x;
    int32_t bits = bits_of(x), most = bits_of(128.0f);
    x = from_bits(bits < most ? bits : most); // as integers: of two float comparisons gcc makes masks and branches
    float shifted = x + ROUND, f = x - (shifted - ROUND);
    // Minimax on [-1/2, 1/2] with exactly 1 at 0, so that 0 and infinity come out of the addition to the exponent.
    float p = 1.3202860e-3f;
    p = p * f + 9.6749528e-3f;
    p = p * f + 5.5510478e-2f;
    p = p * f + 2.4022166e-1f;
    p = p * f + 6.9314660e-1f;
    p = p * f + 1.0f;
    return from_bits((int32_t)((uint32_t)bits_of(p) + ((uint32_t)bits_of(shifted) << 23)));
}

// In two loops: in one, gcc branches around the division.
inline void sigmoids(float *__restrict to, const float *__restrict x) {
    EACH_LANE to[i] = exp2_of(-LOG2E * x[i]);
    EACH_LANE to[i] = 1.0f / (1.0f + to[i]);
}

inline void load(float *__restrict to, const float *__restrict from, int64_t n) {
    if (n == LANES) {
        copy(to, from, LANES);
    } else {
        copy(to, from, n);
        fill(to + n, 0, LANES - n);
    }
}

inline void store(float *__restrict to, const float *__restrict from, int64_t n) {
    n == LANES ? copy(to, from, LANES) : copy(to, from, n);
}

// n rows of N numbers as a tile (N, LANES), and back.
void gather(float *__restrict tile, const float *__restrict rows, int64_t n, int64_t states) {
    for (int64_t i = 0; i < n; ++i)
        for (int64_t s = 0; s < states; ++s) tile[s * LANES + i] = rows[i * states + s];
}

void scatter(float *__restrict rows, const float *__restrict tile, int64_t n, int64_t states) {
    for (int64_t i = 0; i < n; ++i)
        for (int64_t s = 0; s < states; ++s) rows[i * states + s] = tile[s * LANES + i];
}

// dt as it enters the scan, of n channels from `at` on, and its slope where that is wanted.
inline void steps(const Inputs &in, float *__restrict dt, float *__restrict slope, const float *__restrict bias, int64_t at,
                  int64_t n) {
    load(dt, in.dt + at, n);
    EACH_LANE dt[i] += bias[i];
    if (slope && in.softplus) sigmoids(slope, dt);
    if (slope && !in.softplus) fill(slope, 1, LANES);
    if (in.softplus) EACH_LANE dt[i] = softplus(dt[i]);
}

} // namespace
