// One frame of an LSTM or a GRU after its products: gates (B, 4, D) or (B, 3, D), states and outputs (B, D).
#include "common.h"
#include "vectormath.h"

// Gates i, f, g, o before their activations and without bias (4, D).
KERNEL(lstm_cell)(int64_t batch, int64_t dim, const float *gates, const float *bias, const float *c, float *h_next,
                  float *c_next, int64_t threads) {
    parallel_rows(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        const float *__restrict i = gates + row * 4 * dim + start, *__restrict f = i + dim, *__restrict g = f + dim,
                                *__restrict o = g + dim;
        const float *__restrict b_i = bias + start, *__restrict b_f = b_i + dim, *__restrict b_g = b_f + dim,
                                *__restrict b_o = b_g + dim;
        const float *__restrict c_0 = c + row * dim + start;
        float *__restrict h_1 = h_next + row * dim + start, *__restrict c_1 = c_next + row * dim + start;
        SIMD for (int64_t d = 0; d < n; ++d) {
            float cell = sigmoid(f[d] + b_f[d]) * c_0[d] + sigmoid(i[d] + b_i[d]) * tanh_of(g[d] + b_g[d]);
            c_1[d] = cell;
            h_1[d] = sigmoid(o[d] + b_o[d]) * tanh_of(cell);
        }
    });
}

// Gates r, z, n of the input and of the state: n = tanh(input_n + r state_n).
KERNEL(gru_cell)(int64_t batch, int64_t dim, const float *input, const float *state, const float *h, float *h_next,
                 int64_t threads) {
    parallel_rows(batch, dim, threads, [=](int64_t row, int64_t start, int64_t n) {
        const float *__restrict x = input + row * 3 * dim + start, *__restrict s = state + row * 3 * dim + start;
        const float *__restrict h_0 = h + row * dim + start;
        float *__restrict h_1 = h_next + row * dim + start;
        SIMD for (int64_t d = 0; d < n; ++d) {
            float r = sigmoid(x[d] + s[d]), z = sigmoid(x[dim + d] + s[dim + d]);
            float candidate = tanh_of(x[2 * dim + d] + r * s[2 * dim + d]);
            h_1[d] = candidate + z * (h_0[d] - candidate);
        }
    });
}
