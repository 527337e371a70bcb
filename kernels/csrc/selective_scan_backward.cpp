// The backward pass of the selective scan. It goes back through the chunks of frames before which the forward pass left the
// states, and makes those within each again.
#include "selective_scan.h"

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
