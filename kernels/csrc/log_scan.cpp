// h_t = exp(log_a_t) h_{t-1} + exp(log_b_t), positive, in the range of exponents that log space has, without its logarithms:
// the state is mantissa · 2^exponent with an integer exponent of its own. log_a, log_b, y (B, T, D), h (B, D).
#include "common.h"
#include "vectormath.h"

namespace {

const int64_t BLOCK = 256;           // channels whose state is held at a time
const int32_t NOTHING = -(1 << 28);  // the exponent of zero; those of states end at ±2^28

struct Step {
    float kept, added;  // exp(log_a) h_{t-1} and exp(log_b), over 2^exponent
    int32_t exponent;
};

// -inf and inf become e^∓1e6, beyond any float32 by far, NaN stays.
inline Scaled factor(float logarithm) {
    float x = logarithm < -1e6f ? -1e6f : logarithm;
    return exp_scaled(x > 1e6f ? 1e6f : x);
}

inline int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
inline int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

inline Step step(Scaled a, Scaled b, float mantissa, int32_t exponent) {
    exponent += a.exponent;
    int32_t common = larger(exponent, b.exponent);
    float kept = mantissa * a.mantissa * power_of_two(larger(exponent - common, -126));
    return {kept, b.mantissa * power_of_two(larger(b.exponent - common, -126)), common};
}

// The mantissa back to [1, 2); infinity and NaN stay.
inline Scaled normal(float mantissa, int32_t exponent) {
    int32_t shift = smaller((bits_of(mantissa) >> 23 & 255) - 127, 126);
    exponent = smaller(larger(exponent + shift, NOTHING), -NOTHING);
    return {mantissa * power_of_two(-shift), mantissa == 0 ? NOTHING : exponent};
}

inline float value_of(float mantissa, int32_t exponent) {
    exponent = smaller(larger(exponent, -160), 160);
    int32_t half = exponent >> 1;
    return mantissa * power_of_two(half) * power_of_two(exponent - half);
}

struct State {
    float mantissa[BLOCK];
    int32_t exponent[BLOCK];

    void set(const float *initial, int64_t n) {
        for (int64_t d = 0; d < n; ++d) {
            Scaled h = normal(initial ? initial[d] : 0, 0);
            mantissa[d] = h.mantissa;
            exponent[d] = h.exponent;
        }
    }
};

// body(row, first channel, channels), at most BLOCK of them.
template <class Body> void parallel_blocks(int64_t batch, int64_t dim, int64_t threads, const Body &body) {
    parallel_rows(batch, dim, threads, [&](int64_t row, int64_t start, int64_t n) {
        for (int64_t d = 0; d < n; d += BLOCK) body(row, start + d, min_of(BLOCK, n - d));
    });
}

} // namespace

KERNEL(log_linear_scan)(int64_t batch, int64_t time, int64_t dim, const float *log_a, const float *log_b,
                        const float *initial, const int64_t *lengths, const uint8_t *reset, float *y, float *h,
                        int64_t threads) {
    parallel_blocks(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        int64_t frames = frames_of(lengths, row, time);
        const float *first = initial ? initial + row * dim + start : nullptr;
        float *last = h + row * dim + start;
        first ? copy(last, first, n) : fill(last, 0, n);
        State state;
        state.set(first, n);
        for (int64_t t = 0; t < time; ++t) {
            int64_t at = (row * time + t) * dim + start;
            const float *__restrict la = log_a + at, *__restrict lb = log_b + at;
            float *__restrict y_t = y + at;
            if (t >= frames) {
                fill(y_t, 0, n);
                continue;
            }
            if (reset && reset[row * time + t]) state.set(nullptr, n);
            SIMD for (int64_t d = 0; d < n; ++d) {
                Step s = step(factor(la[d]), factor(lb[d]), state.mantissa[d], state.exponent[d]);
                Scaled next = normal(s.kept + s.added, s.exponent);
                state.mantissa[d] = next.mantissa;
                state.exponent[d] = next.exponent;
                y_t[d] = value_of(next.mantissa, next.exponent);
            }
            if (t == frames - 1) copy(last, y_t, n);
        }
    });
}

// With p_t the gradient of log h_t, and w_t the share of h_t that h_{t-1} is: p_t = grad_y_t y_t + w_{t+1} p_{t+1}, of which
// log_a_t takes w_t and log_b_t the rest. The shares are made anew, and stand where the gradients will.
KERNEL(log_linear_scan_backward)(int64_t batch, int64_t time, int64_t dim, const float *grad_y, const float *grad_h,
                                 const float *log_a, const float *log_b, const float *y, const float *initial,
                                 const int64_t *lengths, const uint8_t *reset, float *grad_log_a, float *grad_log_b,
                                 float *grad_initial, int64_t threads) {
    parallel_blocks(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        int64_t frames = frames_of(lengths, row, time);
        const float *first = initial ? initial + row * dim + start : nullptr;
        const float *gh = grad_h + row * dim + start;
        float *__restrict dh = grad_initial + row * dim + start;
        copy(dh, gh, n);
        State state;
        state.set(first, n);
        for (int64_t t = 0; t < time; ++t) {
            int64_t at = (row * time + t) * dim + start;
            const float *__restrict la = log_a + at, *__restrict lb = log_b + at;
            float *__restrict da = grad_log_a + at, *__restrict db = grad_log_b + at;
            if (t >= frames) {
                fill(da, 0, n);
                fill(db, 0, n);
                continue;
            }
            bool cut = reset && reset[row * time + t];
            if (cut) state.set(nullptr, n);
            if (t == 0) { // d log h_0 / d h_{-1}
                SIMD for (int64_t d = 0; d < n; ++d) {
                    Scaled a = factor(la[d]);
                    Step s = step(a, factor(lb[d]), state.mantissa[d], state.exponent[d]);
                    dh[d] = cut ? 0 : value_of(a.mantissa / (s.kept + s.added), a.exponent - s.exponent);
                }
            }
            SIMD for (int64_t d = 0; d < n; ++d) {
                Step s = step(factor(la[d]), factor(lb[d]), state.mantissa[d], state.exponent[d]);
                float sum = s.kept + s.added;
                Scaled next = normal(sum, s.exponent);
                state.mantissa[d] = next.mantissa;
                state.exponent[d] = next.exponent;
                da[d] = s.kept / sum;
                db[d] = s.added / sum;
            }
        }
        float *__restrict carry = state.mantissa; // w_{t+1} p_{t+1}
        for (int64_t t = frames - 1; t >= 0; --t) {
            int64_t at = (row * time + t) * dim + start;
            const float *__restrict gy = grad_y + at, *__restrict y_t = y + at;
            float *__restrict da = grad_log_a + at, *__restrict db = grad_log_b + at;
            bool ends = t == frames - 1;
            if (ends) {
                SIMD for (int64_t d = 0; d < n; ++d) carry[d] = gh[d] * y_t[d];
            }
            SIMD for (int64_t d = 0; d < n; ++d) {
                float p = gy[d] * y_t[d] + carry[d];
                if (t == 0) dh[d] *= p;
                da[d] *= p;
                db[d] *= p;
                carry[d] = da[d];
            }
        }
    });
}
