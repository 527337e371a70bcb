// Mamba's selective scan, forward and backward: h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t, y_t = (C_t h_t + D u_t) SiLU(z_t);
// u, dt, z, y (B, T, D), A (D, N), B, C (B, T, N), h (B, D, N), lengths (B,), reset (B, T).
//
// The work goes tile by tile of LANES channels, whose states stand as (N, LANES): one vector instruction advances one state
// of each channel. The forward pass leaves the states before every chunk of frames, (B, tiles, chunks, N, LANES); the
// backward pass goes back through the chunks and makes the states within each again.
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

namespace {

// Those of the results, then those of the inputs: of A, D and dt_bias with an axis of rows first, of B and C of blocks.
struct Gradients {
    const float *y, *last;
    float *u, *dt, *A, *B, *C, *D, *z, *dt_bias, *initial;
};

// LANES channels of a row, through all chunks: `grad_h` is the gradient of the state after the frames that are left.
struct Tile {
    int64_t row, first, n;
    float *A, *grad_A, *grad_h;           // (N, LANES)
    float *D, *bias, *grad_D, *grad_bias; // (LANES,)
};

// A chunk of frames: `h` (chunk + 1, N, LANES) is the states before each frame and after the last, `nothing` zeros in their
// place before a reset, `decay` exp(dt A), `grad_B` and `grad_C` sums over tiles; the rest is (chunk, LANES), `slope`
// softplus', `grad` the gradient of C h + D u.
struct Chunk {
    int64_t start, frames;
    float *h, *nothing, *decay, *grad_B, *grad_C, *grad_A, *u, *dt, *slope, *grad;
};

// The states of a chunk from those before it, and the gradient of z, for which y is needed without its gate.
void remake(const Inputs &in, const Gradients &to, const Tile &tile, const Chunk &chunk) {
    const int64_t N = in.states, size = N * LANES;
    float x[LANES], out[LANES], z[LANES], gate[LANES];
    for (int64_t j = 0; j < chunk.frames; ++j) {
        const int64_t t = chunk.start + j, frame = tile.row * in.time + t, at = frame * in.dim + tile.first;
        float *__restrict u = chunk.u + j * LANES, *__restrict dt = chunk.dt + j * LANES;
        float *__restrict grad = chunk.grad + j * LANES, *__restrict slope = chunk.slope + j * LANES;
        const float *states_before = in.resets(frame) ? chunk.nothing : chunk.h + j * size;
        load(u, in.u + at, tile.n);
        load(grad, to.y + at, tile.n);
        steps(in, dt, slope, tile.bias, at, tile.n);
        EACH_LANE x[i] = dt[i] * u[i];
        EACH_LANE out[i] = tile.D[i] * u[i];
        for (int64_t s = 0; s < N; ++s) {
            const float B = in.B[frame * N + s], C = in.C[frame * N + s];
            const int64_t here = j * size + s * LANES;
            const float *__restrict A = tile.A + s * LANES, *__restrict before = states_before + s * LANES;
            float *__restrict after = chunk.h + here + size, *__restrict decay = chunk.decay + here;
            EACH_LANE {
                decay[i] = exp2_of(LOG2E * A[i] * dt[i]);
                after[i] = decay[i] * before[i] + x[i] * B;
                out[i] += after[i] * C;
            }
        }
        if (in.z) {
            load(z, in.z + tile.row * in.z_row + t * in.z_frame + tile.first, tile.n);
            sigmoids(gate, z);
            EACH_LANE out[i] *= grad[i] * gate[i] * (1.0f + z[i] * (1.0f - gate[i]));
            EACH_LANE grad[i] *= z[i] * gate[i];
            store(to.z + at, out, tile.n);
        }
    }
}

void reverse(const Inputs &in, const Gradients &to, const Tile &tile, const Chunk &chunk) {
    const int64_t N = in.states, size = N * LANES;
    float x[LANES], grad_u[LANES];
    fill(chunk.grad_A, 0, size);
    for (int64_t j = chunk.frames - 1; j >= 0; --j) {
        const int64_t frame = tile.row * in.time + chunk.start + j, at = frame * in.dim + tile.first;
        const float *__restrict u = chunk.u + j * LANES, *__restrict dt = chunk.dt + j * LANES;
        const float *__restrict grad = chunk.grad + j * LANES, *__restrict slope = chunk.slope + j * LANES;
        const float *states_before = in.resets(frame) ? chunk.nothing : chunk.h + j * size;
        float grad_x[LANES] = {}, grad_dt[LANES] = {};
        EACH_LANE x[i] = dt[i] * u[i];
        for (int64_t s = 0; s < N; ++s) {
            const float B = in.B[frame * N + s], C = in.C[frame * N + s];
            const int64_t here = j * size + s * LANES;
            const float *__restrict A = tile.A + s * LANES, *__restrict decay = chunk.decay + here;
            const float *__restrict before = states_before + s * LANES, *__restrict after = chunk.h + here + size;
            float *__restrict grad_h = tile.grad_h + s * LANES, *__restrict grad_A = chunk.grad_A + s * LANES;
            float *__restrict grad_B = chunk.grad_B + here, *__restrict grad_C = chunk.grad_C + here;
            EACH_LANE {
                float of_h = grad_h[i] + grad[i] * C;
                grad_C[i] += grad[i] * after[i];
                grad_B[i] += of_h * x[i];
                grad_x[i] += of_h * B;
                grad_h[i] = of_h * decay[i];
                float of_dt_A = grad_h[i] * before[i];
                grad_dt[i] += of_dt_A * A[i];
                grad_A[i] += of_dt_A * dt[i];
            }
        }
        if (in.resets(frame)) fill(tile.grad_h, 0, size);
        EACH_LANE {
            grad_u[i] = grad_x[i] * dt[i] + grad[i] * tile.D[i];
            grad_dt[i] = (grad_dt[i] + grad_x[i] * u[i]) * slope[i];
            tile.grad_bias[i] += grad_dt[i];
            tile.grad_D[i] += grad[i] * u[i];
        }
        store(to.u + at, grad_u, tile.n);
        store(to.dt + at, grad_dt, tile.n);
    }
    // By chunk first: a sum of thousands of frames one by one would lose digits.
    for (int64_t k = 0; k < size; ++k) tile.grad_A[k] += chunk.grad_A[k];
}

// The channels of a block, whose gradients to B and C are summed.
void backward_block(const Inputs &in, const float *starts, const Gradients &to, int64_t row, int64_t block,
                           int64_t first, int64_t width) {
    const int64_t N = in.states, size = N * LANES, L = in.chunk, tiles = (width + LANES - 1) / LANES;
    const int64_t frames = frames_of(in.lengths, row, in.time), all_tiles = (in.dim + LANES - 1) / LANES;
    Memory memory(tiles * (3 * size + 4 * LANES) + L * (4 * size + 4 * LANES) + 3 * size);
    Tile all{row, first, width, memory.take(tiles * size), memory.take(tiles * size), memory.take(tiles * size),
             memory.take(tiles * LANES), memory.take(tiles * LANES), memory.take(tiles * LANES),
             memory.take(tiles * LANES)};
    Chunk chunk{0, 0, memory.take((L + 1) * size), memory.take(size), memory.take(L * size), memory.take(L * size),
                memory.take(L * size), memory.take(size), memory.take(L * LANES), memory.take(L * LANES),
                memory.take(L * LANES), memory.take(L * LANES)};
    auto tile_of = [=](int64_t k) {
        const int64_t a = k * size, b = k * LANES;
        return Tile{row, first + b, min_of(LANES, width - b), all.A + a, all.grad_A + a, all.grad_h + a, all.D + b,
                    all.bias + b, all.grad_D + b, all.grad_bias + b};
    };
    if (in.D) copy(all.D, in.D + first, width);
    if (in.dt_bias) copy(all.bias, in.dt_bias + first, width);
    for (int64_t k = 0; k < tiles; ++k) {
        const Tile tile = tile_of(k);
        gather(tile.A, in.A + tile.first * N, tile.n, N);
        gather(tile.grad_h, to.last + (row * in.dim + tile.first) * N, tile.n, N);
    }
    for (int64_t c = (frames + L - 1) / L - 1; c >= 0; --c) {
        chunk.start = c * L;
        chunk.frames = min_of(L, frames - chunk.start);
        fill(chunk.grad_B, 0, chunk.frames * size);
        fill(chunk.grad_C, 0, chunk.frames * size);
        for (int64_t k = 0; k < tiles; ++k) {
            const Tile tile = tile_of(k);
            const int64_t i = row * all_tiles + tile.first / LANES;
            copy(chunk.h, starts + (i * ((in.time + L - 1) / L) + c) * size, size);
            remake(in, to, tile, chunk);
            reverse(in, to, tile, chunk);
        }
        const int64_t at = ((block * in.batch + row) * in.time + chunk.start) * N;
        for (int64_t k = 0; k < chunk.frames * N; ++k) {
            float of_B = 0, of_C = 0;
            for (int i = 0; i < LANES; ++i) {
                of_B += chunk.grad_B[k * LANES + i];
                of_C += chunk.grad_C[k * LANES + i];
            }
            to.B[at + k] = of_B;
            to.C[at + k] = of_C;
        }
    }
    for (int64_t k = 0; k < tiles; ++k) {
        const Tile tile = tile_of(k);
        const int64_t at = row * in.dim + tile.first;
        scatter(to.A + at * N, tile.grad_A, tile.n, N);
        scatter(to.initial + at * N, tile.grad_h, tile.n, N);
    }
    copy(to.D + row * in.dim + first, all.grad_D, width);
    copy(to.dt_bias + row * in.dim + first, all.grad_bias, width);
    for (int64_t t = frames; t < in.time; ++t) {
        const int64_t at = (row * in.time + t) * in.dim + first, at_B = ((block * in.batch + row) * in.time + t) * N;
        fill(to.u + at, 0, width);
        fill(to.dt + at, 0, width);
        if (in.z) fill(to.z + at, 0, width);
        fill(to.B + at_B, 0, N);
        fill(to.C + at_B, 0, N);
    }
}

} // namespace

KERNEL(selective_scan_backward)(int64_t batch, int64_t time, int64_t dim, int64_t states, int64_t with_softplus,
                                int64_t chunk, int64_t z_row, int64_t z_frame, int64_t width, const float *u,
                                const float *dt, const float *A, const float *B, const float *C, const float *D,
                                const float *z, const float *dt_bias, const float *initial, const int64_t *lengths,
                                const uint8_t *reset, const float *starts, const float *grad_y, const float *grad_last,
                                float *grad_u, float *grad_dt, float *grad_A, float *grad_B, float *grad_C,
                                float *grad_D, float *grad_z, float *grad_bias, float *grad_initial, int64_t threads) {
    const Inputs in{batch, time, dim, states, with_softplus, chunk, z_row, z_frame, u, dt, A, B, C, D, z, dt_bias,
                    initial, lengths, reset};
    const Gradients to{grad_y, grad_last, grad_u, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias,
                       grad_initial};
    const int64_t blocks = (dim + width - 1) / width;
    parallel(batch * blocks, threads, [=](int64_t i) {
        const int64_t block = i % blocks, first = block * width;
        backward_block(in, starts, to, i / blocks, block, first, min_of(width, dim - first));
    });
}
