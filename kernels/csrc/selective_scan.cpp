// The forward pass of the selective scan. For a backward pass to come it leaves the states before every chunk of frames,
// (B, tiles, chunks, N, LANES).
#include "selective_scan.h"

namespace {

void forward_tile(const Inputs &in, int64_t row, int64_t tile, float *y, float *last, float *starts) {
    const int64_t N = in.states, size = N * LANES, first = tile * LANES, n = min_of(LANES, in.dim - first);
    const int64_t frames = frames_of(in.lengths, row, in.time), state = (row * in.dim + first) * N;
    Memory memory(2 * size);
    float *A = memory.take(size), *h = memory.take(size);
    gather(A, in.A + first * N, n, N);
    for (int64_t k = 0; k < size; ++k) A[k] *= LOG2E;
    if (in.initial) gather(h, in.initial + state, n, N);
    float D[LANES] = {}, bias[LANES] = {}, u[LANES], dt[LANES], x[LANES], out[LANES], z[LANES], gate[LANES];
    if (in.D) load(D, in.D + first, n);
    if (in.dt_bias) load(bias, in.dt_bias + first, n);
    for (int64_t t = 0; t < frames; ++t) {
        const int64_t frame = row * in.time + t, at = frame * in.dim + first;
        if (starts && t % in.chunk == 0) {
            copy(starts, h, size);
            starts += size;
        }
        if (in.resets(frame)) fill(h, 0, size);
        load(u, in.u + at, n);
        steps(in, dt, nullptr, bias, at, n);
        EACH_LANE x[i] = dt[i] * u[i];
        EACH_LANE out[i] = D[i] * u[i];
        for (int64_t s = 0; s < N; ++s) {
            const float B = in.B[frame * N + s], C = in.C[frame * N + s];
            const float *__restrict A_s = A + s * LANES;
            float *__restrict h_s = h + s * LANES;
            EACH_LANE {
                h_s[i] = exp2_of(dt[i] * A_s[i]) * h_s[i] + x[i] * B;
                out[i] += h_s[i] * C;
            }
        }
        if (in.z) {
            load(z, in.z + row * in.z_row + t * in.z_frame + first, n);
            sigmoids(gate, z);
            EACH_LANE out[i] *= z[i] * gate[i];
        }
        store(y + at, out, n);
    }
    for (int64_t t = frames; starts && t < in.time; ++t)
        if (t % in.chunk == 0) {
            fill(starts, 0, size);
            starts += size;
        }
    for (int64_t t = frames; t < in.time; ++t) fill(y + (row * in.time + t) * in.dim + first, 0, n);
    scatter(last + state, h, n, N);
}

// One channel by one frame: its states, and what is read out of them. No `before` is zeros.
inline float advance(float *__restrict h, const float *__restrict before, const float *__restrict A, float step, float x,
                     const float *__restrict B, const float *__restrict C, int64_t N) {
    float parts[LANES] = {};
    if (before) SIMD for (int64_t s = 0; s < N; ++s) h[s] = exp2_of(step * A[s]) * before[s] + x * B[s];
    else SIMD for (int64_t s = 0; s < N; ++s) h[s] = x * B[s];
    for (int64_t s = 0; s < N; s += LANES) {
        const int64_t n = min_of(LANES, N - s);
        SIMD for (int64_t i = 0; i < n; ++i) parts[i] += h[s + i] * C[s + i];
    }
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
    return parts[0];
}

// One frame: nothing is gained from tiles, and laying them out would cost more than the frame. The lanes are states.
void forward_frame(const Inputs &in, int64_t row, float *y, float *last) {
    const int64_t N = in.states;
    const float *B = in.B + row * N, *C = in.C + row * N;
    const bool valid = frames_of(in.lengths, row, 1), from_zero = !in.initial || (valid && in.resets(row));
    float u[LANES], dt[LANES], D[LANES] = {}, bias[LANES] = {}, out[LANES], z[LANES], gate[LANES];
    if (!valid) {
        fill(y + row * in.dim, 0, in.dim);
        from_zero ? fill(last + row * in.dim * N, 0, in.dim * N)
                  : copy(last + row * in.dim * N, in.initial + row * in.dim * N, in.dim * N);
        return;
    }
    for (int64_t first = 0; first < in.dim; first += LANES) {
        const int64_t n = min_of(LANES, in.dim - first), at = row * in.dim + first;
        if (in.D) load(D, in.D + first, n);
        if (in.dt_bias) load(bias, in.dt_bias + first, n);
        load(u, in.u + at, n);
        steps(in, dt, nullptr, bias, at, n);
        EACH_LANE out[i] = D[i] * u[i];
        for (int64_t i = 0; i < n; ++i) {
            const float *__restrict A = in.A + (first + i) * N;
            const float *__restrict before = from_zero ? nullptr : in.initial + (at + i) * N;
            float *__restrict h = last + (at + i) * N;
            const float x = dt[i] * u[i], step = dt[i] * LOG2E;
            // A size that the compiler knows needs no loops, and 16 is what models have.
            out[i] += N == 16 ? advance(h, before, A, step, x, B, C, 16) : advance(h, before, A, step, x, B, C, N);
        }
        if (in.z) {
            load(z, in.z + row * in.z_row + first, n);
            sigmoids(gate, z);
            EACH_LANE out[i] *= z[i] * gate[i];
        }
        store(y + at, out, n);
    }
}

} // namespace

KERNEL(selective_scan)(int64_t batch, int64_t time, int64_t dim, int64_t states, int64_t with_softplus, int64_t chunk,
                       int64_t z_row, int64_t z_frame, const float *u, const float *dt, const float *A, const float *B,
                       const float *C, const float *D, const float *z, const float *dt_bias, const float *initial,
                       const int64_t *lengths, const uint8_t *reset, float *y, float *last, float *starts,
                       int64_t threads) {
    const Inputs in{batch, time, dim, states, with_softplus, chunk, z_row, z_frame, u, dt, A, B, C, D, z, dt_bias,
                    initial, lengths, reset};
    const int64_t tiles = (dim + LANES - 1) / LANES, kept = (time + chunk - 1) / chunk * states * LANES;
    if (time == 1 && !starts) {
        parallel(batch, threads, [=](int64_t row) { forward_frame(in, row, y, last); });
        return;
    }
    parallel(batch * tiles, threads, [=](int64_t i) {
        forward_tile(in, i / tiles, i % tiles, y, last, starts ? starts + i * kept : nullptr);
    });
}
