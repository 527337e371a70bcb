// The LSTM of H heads over time, gates i, f, g, o: wx (B, T, 4, H, D), R (H, D, 4 D) and b (4, H, D) of each head, states
// (B, H, D). A thread owns rows of a head over all frames, so threads never wait for one another.
#include "tiles.h"
#include "vectormath.h"

namespace {

struct Sizes {
    int64_t batch, time, heads, dim;

    int64_t state(int64_t row, int64_t head) const { return (row * heads + head) * dim; }
    int64_t frame(int64_t row, int64_t t, int64_t head) const { return ((row * time + t) * heads + head) * dim; }
    int64_t gates(int64_t row, int64_t t, int64_t head) const { return ((row * time + t) * 4 * heads + head) * dim; }
    int64_t gate() const { return heads * dim; } // from one gate to the next
};

// y (B, H, N) += x (B, H, K) R, of one head and so many rows from the first on.
void add_heads_product(const Sizes &s, int64_t head, int64_t first, int64_t rows, int64_t K, int64_t N, const float *x,
                       const void *tiles, bool narrow, float *y) {
    const int64_t at = first * s.heads + head;
    x += at * K, y += at * N;
    if (narrow)
        add_product(rows, K, N, x, s.heads * K, (const uint32_t *)tiles + head * ((K + 1) / 2) * tiled(N), y, s.heads * N);
    else add_product(rows, K, N, x, s.heads * K, (const float *)tiles + head * K * tiled(N), y, s.heads * N);
}

// body(head, first row, rows, frames of the longest of them)
template <class Body> void each_group(const Sizes &s, const int64_t *lengths, int64_t threads, const Body &body) {
    const int64_t groups = max_of(1, min_of(threads, s.batch)), rows = (s.batch + groups - 1) / groups;
    parallel(groups * s.heads, threads, [&](int64_t i) {
        const int64_t first = i / s.heads * rows, count = min_of(rows, s.batch - first);
        int64_t longest = 0;
        for (int64_t row = first; row < first + count; ++row) longest = max_of(longest, frames_of(lengths, row, s.time));
        if (count > 0) body(i % s.heads, first, count, longest);
    });
}

} // namespace

// h and c are the initial states and become the last ones; work (B, H, 4 D). narrow: the tiles are of bfloat16.
// cells (B, T, H, D) are the c of all frames; for the gradient kept (B, T, 4, H, D), the gates after their activations.
KERNEL(lstm)(int64_t batch, int64_t time, int64_t heads, int64_t dim, int64_t narrow, const float *wx, const void *tiles,
             const float *bias, const int64_t *lengths, const uint8_t *reset, float *y, float *h, float *c, float *kept,
             float *cells, float *work, int64_t threads) {
    const Sizes s = {batch, time, heads, dim};
    each_group(s, lengths, threads, [=](int64_t head, int64_t first, int64_t rows, int64_t longest) {
        for (int64_t t = 0; t < longest; ++t) {
            for (int64_t row = first; row < first + rows; ++row) {
                float *gates = work + 4 * s.state(row, head);
                if (t >= frames_of(lengths, row, time)) continue;
                if (reset && reset[row * time + t]) {
                    fill(h + s.state(row, head), 0.0f, dim);
                    fill(c + s.state(row, head), 0.0f, dim);
                }
                for (int64_t k = 0; k < 4; ++k) {
                    const float *__restrict from = wx + s.gates(row, t, head) + k * s.gate();
                    const float *__restrict b = bias + k * s.gate() + head * dim;
                    float *__restrict to = gates + k * dim;
                    SIMD for (int64_t d = 0; d < dim; ++d) to[d] = from[d] + b[d];
                }
            }
            add_heads_product(s, head, first, rows, dim, 4 * dim, h, tiles, narrow, work);
            for (int64_t row = first; row < first + rows; ++row) {
                if (t >= frames_of(lengths, row, time)) continue;
                const float *__restrict x = work + 4 * s.state(row, head);
                float *__restrict i = kept + s.gates(row, t, head), *__restrict f = i + s.gate(),
                                  *__restrict g = f + s.gate(), *__restrict o = g + s.gate();
                float *__restrict h_row = h + s.state(row, head), *__restrict c_row = c + s.state(row, head);
                float *__restrict cell = cells + s.frame(row, t, head), *__restrict out = y + s.frame(row, t, head);
                SIMD for (int64_t d = 0; d < dim; ++d) {
                    const float in = sigmoid(x[d]), forget = sigmoid(x[dim + d]), new_value = tanh_of(x[2 * dim + d]);
                    const float open = sigmoid(x[3 * dim + d]), value = forget * c_row[d] + in * new_value;
                    const float shown = open * tanh_of(value);
                    i[d] = in, f[d] = forget, g[d] = new_value, o[d] = open;
                    cell[d] = c_row[d] = value;
                    out[d] = h_row[d] = shown;
                }
            }
        }
        for (int64_t row = first; row < first + rows; ++row) {
            for (int64_t t = frames_of(lengths, row, time); t < time; ++t) {
                fill(y + s.frame(row, t, head), 0.0f, dim);
                fill(cells + s.frame(row, t, head), 0.0f, dim);
                for (int64_t k = 0; k < 4; ++k) fill(kept + s.gates(row, t, head) + k * s.gate(), 0.0f, dim);
            }
        }
    });
}

// dy and dcells are the gradients of all frames' y and c; dh and dc those of the last states, and become those of the initial
// ones, c_0. work (B, H, 4 D) begins as zeros. tiles are those of R transposed, (4 D, D).
KERNEL(lstm_backward)(int64_t batch, int64_t time, int64_t heads, int64_t dim, int64_t narrow, const float *dy,
                      const float *dcells, const void *tiles, const float *kept, const float *cells, const float *c_0,
                      const int64_t *lengths, const uint8_t *reset, float *dwx, float *dh, float *dc, float *work,
                      int64_t threads) {
    const Sizes s = {batch, time, heads, dim};
    each_group(s, lengths, threads, [=](int64_t head, int64_t first, int64_t rows, int64_t longest) {
        for (int64_t row = first; row < first + rows; ++row)
            for (int64_t t = frames_of(lengths, row, time); t < time; ++t)
                for (int64_t k = 0; k < 4; ++k) fill(dwx + s.gates(row, t, head) + k * s.gate(), 0.0f, dim);
        for (int64_t t = longest - 1; t >= 0; --t) {
            for (int64_t row = first; row < first + rows; ++row) {
                if (t >= frames_of(lengths, row, time)) continue;
                const float *__restrict i = kept + s.gates(row, t, head), *__restrict f = i + s.gate(),
                                        *__restrict g = f + s.gate(), *__restrict o = g + s.gate();
                const float *__restrict cell = cells + s.frame(row, t, head), *__restrict d_out = dy + s.frame(row, t, head);
                const float *__restrict d_cell = dcells + s.frame(row, t, head);
                const float *__restrict before = t ? cells + s.frame(row, t - 1, head) : c_0 + s.state(row, head);
                float *__restrict dh_row = dh + s.state(row, head), *__restrict dc_row = dc + s.state(row, head);
                float *__restrict x = work + 4 * s.state(row, head);
                SIMD for (int64_t d = 0; d < dim; ++d) {
                    const float shown = tanh_of(cell[d]), dh_d = dh_row[d] + d_out[d];
                    const float dc_d = dc_row[d] + d_cell[d] + dh_d * o[d] * (1.0f - shown * shown);
                    x[d] = dc_d * g[d] * i[d] * (1.0f - i[d]);
                    x[dim + d] = dc_d * before[d] * f[d] * (1.0f - f[d]);
                    x[2 * dim + d] = dc_d * i[d] * (1.0f - g[d] * g[d]);
                    x[3 * dim + d] = dh_d * shown * o[d] * (1.0f - o[d]);
                    dc_row[d] = dc_d * f[d];
                    dh_row[d] = 0.0f;
                }
                if (reset && reset[row * time + t]) fill(x + dim, 0.0f, dim); // no cell was there to be kept
                for (int64_t k = 0; k < 4; ++k) copy(dwx + s.gates(row, t, head) + k * s.gate(), x + k * dim, dim);
            }
            add_heads_product(s, head, first, rows, 4 * dim, dim, work, tiles, narrow, dh);
            for (int64_t row = first; row < first + rows; ++row) {
                if (t >= frames_of(lengths, row, time) || !(reset && reset[row * time + t])) continue;
                fill(dh + s.state(row, head), 0.0f, dim);
                fill(dc + s.state(row, head), 0.0f, dim);
            }
        }
    });
}
