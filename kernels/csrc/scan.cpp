// h_t = a_t h_{t-1} + b_t, forward and backward; a, b, y (B, T, D), h (B, D), lengths (B,), reset (B, T).
#include "common.h"

// The state is the row of y before: it is still in the first cache, and y is written once.
KERNEL(linear_scan)(int64_t batch, int64_t time, int64_t dim, const float *a, const float *b, const float *initial,
                    const int64_t *lengths, const uint8_t *reset, float *y, float *h, int64_t threads) {
    parallel_rows(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        int64_t frames = frames_of(lengths, row, time);
        const float *before = initial ? initial + row * dim + start : nullptr;
        float *out = y + row * time * dim + start;
        for (int64_t t = 0; t < time; ++t, out += dim) {
            const float *__restrict b_t = b + (row * time + t) * dim + start;
            const float *__restrict a_t = a + (row * time + t) * dim + start;
            float *__restrict y_t = out;
            if (t >= frames) {
                fill(y_t, 0, n);
                continue;
            }
            if (!before || (reset && reset[row * time + t])) {
                copy(y_t, b_t, n);
            } else {
                const float *__restrict h_t = before;
                SIMD for (int64_t d = 0; d < n; ++d) y_t[d] = a_t[d] * h_t[d] + b_t[d];
            }
            before = out;
        }
        float *last = h + row * dim + start;
        before ? copy(last, before, n) : fill(last, 0, n);
    });
}

// One frame: g = grad_y + carry is grad_b, and so on; see below.
static inline void frame_back(int64_t n, const float *__restrict gy, const float *__restrict a,
                              const float *__restrict before, float *__restrict carry, float *__restrict da,
                              float *__restrict db) {
    SIMD for (int64_t d = 0; d < n; ++d) {
        float g = gy[d] + carry[d];
        db[d] = g;
        da[d] = g * before[d];
        carry[d] = g * a[d];
    }
}

// grad_b_t is the gradient of h_t: grad_y_t + a_{t+1} grad_b_{t+1}; grad_a_t is grad_b_t h_{t-1}.
KERNEL(linear_scan_backward)(int64_t batch, int64_t time, int64_t dim, const float *grad_y, const float *grad_h,
                             const float *a, const float *y, const float *initial, const int64_t *lengths,
                             const uint8_t *reset, float *grad_a, float *grad_b, float *grad_initial,
                             int64_t threads) {
    bool past = goes_past_caches(batch * time * dim, dim, grad_a, grad_b);
    parallel_rows(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        int64_t frames = frames_of(lengths, row, time);
        float *__restrict carry = grad_initial + row * dim + start; // what h_t gets from the frames after it
        copy(carry, grad_h + row * dim + start, n);
        for (int64_t t = time - 1; t >= 0; --t) {
            int64_t at = (row * time + t) * dim + start;
            float *__restrict da = grad_a + at, *__restrict db = grad_b + at;
            if (t >= frames) {
                fill(da, 0, n);
                fill(db, 0, n);
                continue;
            }
            const float *__restrict gy = grad_y + at, *__restrict a_t = a + at;
            if (t > 1) {
                const float *next[] = {gy - dim, a_t - dim, y + at - 2 * dim};
                for (const float *x : next) foresee(x, n);
            }
            const float *__restrict before = t ? y + at - dim : initial ? initial + row * dim + start : nullptr;
            if (reset && reset[row * time + t]) {
                SIMD for (int64_t d = 0; d < n; ++d) {
                    db[d] = gy[d] + carry[d];
                    da[d] = carry[d] = 0;
                }
            } else if (before && past) {
                for (int64_t d = 0; d < n; d += 16) {
                    float lines[2][16];
                    frame_back(16, gy + d, a_t + d, before + d, carry + d, lines[0], lines[1]);
                    write_past(da + d, lines[0]);
                    write_past(db + d, lines[1]);
                }
            } else if (before) {
                frame_back(n, gy, a_t, before, carry, da, db);
            } else {
                SIMD for (int64_t d = 0; d < n; ++d) {
                    float g = gy[d] + carry[d];
                    db[d] = g;
                    da[d] = 0;
                    carry[d] = g * a_t[d];
                }
            }
        }
        if (past) settle();
    });
}
