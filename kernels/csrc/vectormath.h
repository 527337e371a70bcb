// exp, sigmoid, SiLU and softplus of float32 to a few ulp, free of branches, so that loops over them become vector code.
// NaN stays NaN; infinities give their limits.
#pragma once

#include <cstdint>
#include <cstring>

static inline int32_t bits_of(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float from_bits(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// 2^n, n in [-126, 127].
static inline float power_of_two(int32_t n) { return from_bits((n + 127) << 23); }

// Adding and taking away 1.5 · 2^23 rounds to the nearest integer, which then stands in the low bits.
static const float ROUND = 12582912.0f;

// exp(x) = mantissa · 2^exponent with a mantissa in [0.7, 1.42], |x| up to 1e6.
struct Scaled {
    float mantissa;
    int32_t exponent;
};

static inline Scaled exp_scaled(float x) {
    float shifted = x * 1.44269504f + ROUND, n = shifted - ROUND;
    // ln 2 in two parts, the first short enough for an exact product with n.
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    // Taylor's series to r^7 / 7!, |r| <= 0.347: 5e-9 of relative error.
    float p = 1.98412698e-4f;
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    return {(p * r) * r + r + 1.0f, bits_of(shifted) - bits_of(ROUND)};
}

static inline float exp_of(float x) {
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    Scaled e = exp_scaled(x);
    int32_t half = e.exponent >> 1; // in two factors: 2^n alone would not reach subnormals, nor infinity
    return e.mantissa * power_of_two(half) * power_of_two(e.exponent - half);
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exp_of(-x)); }

// To a few units of 1e-8, not of the result: near zero the difference has few digits.
static inline float tanh_of(float x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

static inline float silu(float x) { return x / (1.0f + exp_of(-x)); }

static inline float silu_slope(float x) {
    float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

// log(1 + u) for u in [0, 1], as 2 artanh(u / (2 + u)): exact for small u, too.
static inline float log1p_unit(float u) {
    float s = u / (2.0f + u), q = s * s;
    float p = 2.0f / 15;
    p = p * q + 2.0f / 13;
    p = p * q + 2.0f / 11;
    p = p * q + 2.0f / 9;
    p = p * q + 2.0f / 7;
    p = p * q + 2.0f / 5;
    p = p * q + 2.0f / 3;
    return (p * q) * s + 2.0f * s;
}

static inline float softplus(float x) {
    float magnitude = x < 0 ? -x : x;
    return (x > 0 ? x : 0.0f * x) + log1p_unit(exp_of(-magnitude));
}
