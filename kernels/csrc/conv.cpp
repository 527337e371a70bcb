// y_t = activation(bias + Σ_j weight_j x_{t-left+j}), each channel alone; x, y (B, T, D), weight (taps, D), bias (D,), the
// frames before (B, left, D) with left = taps - 1. Rows and frames of x lie x_row and x_frame floats apart.
#include "common.h"
#include "vectormath.h"

namespace {

struct Row {
    const float *x, *state;
    int64_t left, frames, x_frame, dim;
    int64_t origin;  // the first frame since a reset, -left where the state's frames still count

    // Frame t, or null where it is zero.
    const float *at(int64_t t) const {
        if (t < origin) return nullptr;
        return t < 0 ? state + (left + t) * dim : x + t * x_frame;
    }
};

inline Row row_of(int64_t row, int64_t time, int64_t dim, int64_t taps, int64_t x_row, int64_t x_frame,
                  const float *x, const float *state, const int64_t *lengths) {
    int64_t left = taps - 1;
    state = state ? state + row * left * dim : nullptr;
    return {x + row * x_row, state, left, frames_of(lengths, row, time), x_frame, dim, state ? -left : 0};
}

// out = bias + Σ_j weight_j frame_j of the frames up to t.
inline void convolve(const Row &row, int64_t t, const float *weight, const float *bias, int64_t start, int64_t n,
                     float *__restrict out) {
    bias ? copy(out, bias + start, n) : fill(out, 0, n);
    int64_t j = max_of(0, row.origin - (t - row.left));
    // Four taps at a time: out is read and written a quarter as often.
    for (; j + 4 <= row.left + 1; j += 4) {
        const float *__restrict w = weight + j * row.dim + start;
        const float *__restrict x0 = row.at(t - row.left + j) + start, *__restrict x1 = row.at(t - row.left + j + 1) + start;
        const float *__restrict x2 = row.at(t - row.left + j + 2) + start, *__restrict x3 = row.at(t - row.left + j + 3) + start;
        const float *__restrict w1 = w + row.dim, *__restrict w2 = w1 + row.dim, *__restrict w3 = w2 + row.dim;
        SIMD for (int64_t d = 0; d < n; ++d) out[d] = out[d] + w[d] * x0[d] + w1[d] * x1[d] + w2[d] * x2[d] + w3[d] * x3[d];
    }
    for (; j <= row.left; ++j) {
        const float *__restrict w = weight + j * row.dim + start, *__restrict x = row.at(t - row.left + j) + start;
        SIMD for (int64_t d = 0; d < n; ++d) out[d] += w[d] * x[d];
    }
}

} // namespace

KERNEL(causal_conv)(int64_t batch, int64_t time, int64_t dim, int64_t taps, int64_t silu_after, int64_t x_row,
                    int64_t x_frame, const float *x, const float *weight, const float *bias, const float *initial,
                    const int64_t *lengths, const uint8_t *reset, float *y, float *state, int64_t threads) {
    parallel_rows(batch, dim, threads, [=](int64_t r, int64_t start, int64_t n) {
        Row row = row_of(r, time, dim, taps, x_row, x_frame, x, initial, lengths);
        for (int64_t t = 0; t < time; ++t) {
            float *__restrict y_t = y + (r * time + t) * dim + start;
            if (t >= row.frames) {
                fill(y_t, 0, n);
                continue;
            }
            if (reset && reset[r * time + t]) row.origin = t;
            convolve(row, t, weight, bias, start, n, y_t);
            if (silu_after) {
                SIMD for (int64_t d = 0; d < n; ++d) y_t[d] = silu(y_t[d]);
            }
        }
        for (int64_t i = 0; i < row.left; ++i) {
            const float *frame = row.at(row.frames - row.left + i);
            float *to = state + (r * row.left + i) * dim + start;
            frame ? copy(to, frame + start, n) : fill(to, 0, n);
        }
    });
}

// Each item has its channels in all rows, so that the weights' gradients are summed in one order on any number of threads.
KERNEL(causal_conv_backward)(int64_t batch, int64_t time, int64_t dim, int64_t taps, int64_t silu_after,
                             int64_t x_row, int64_t x_frame, const float *grad_y, const float *grad_state,
                             const float *x, const float *weight, const float *bias, const float *initial,
                             const int64_t *lengths, const uint8_t *reset, float *grad_x, float *grad_weight,
                             float *grad_bias, float *grad_initial, int64_t threads) {
    const int64_t block = 256;
    parallel((dim + block - 1) / block, threads, [=](int64_t item) {
        int64_t start = item * block, n = min_of(block, dim - start), left = taps - 1;
        float slope[block];
        float *__restrict gz = slope;  // the gradient of what the activation is given
        float *__restrict gb = grad_bias + start;
        fill(gb, 0, n);
        for (int64_t j = 0; j < taps; ++j) fill(grad_weight + j * dim + start, 0, n);
        for (int64_t r = 0; r < batch; ++r) {
            Row row = row_of(r, time, dim, taps, x_row, x_frame, x, initial, lengths);
            // Where the gradient of frame t, given or before, is gathered.
            auto gradient = [=](int64_t t) {
                return (t < 0 ? grad_initial + (r * left + left + t) * dim : grad_x + (r * time + t) * dim) + start;
            };
            for (int64_t t = -left; t < time; ++t) fill(gradient(t), 0, n);
            for (int64_t t = 0; t < row.frames; ++t) {
                if (reset && reset[r * time + t]) row.origin = t;
                const float *__restrict gy = grad_y + (r * time + t) * dim + start;
                if (silu_after) {
                    convolve(row, t, weight, bias, start, n, gz);
                    SIMD for (int64_t d = 0; d < n; ++d) gz[d] = gy[d] * silu_slope(gz[d]);
                } else {
                    copy(gz, gy, n);
                }
                SIMD for (int64_t d = 0; d < n; ++d) gb[d] += gz[d];
                for (int64_t j = max_of(0, row.origin - (t - left)); j < taps; ++j) {
                    const float *__restrict frame = row.at(t - left + j) + start;
                    const float *__restrict w = weight + j * dim + start;
                    float *__restrict gx = gradient(t - left + j), *__restrict gw = grad_weight + j * dim + start;
                    SIMD for (int64_t d = 0; d < n; ++d) {
                        gw[d] += gz[d] * frame[d];
                        gx[d] += gz[d] * w[d];
                    }
                }
            }
            for (int64_t i = 0; i < left; ++i) { // the new state is a copy of these frames
                int64_t t = row.frames - left + i;
                if (t < row.origin) continue;
                const float *__restrict from = grad_state + (r * left + i) * dim + start;
                float *__restrict to = gradient(t);
                SIMD for (int64_t d = 0; d < n; ++d) to[d] += from[d];
            }
        }
    });
}
