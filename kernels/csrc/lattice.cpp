// The transducer's lattice: score (B,) and occupancies of px (B, S, T+1) regular or (B, S, T) modified, and py (B, S+1, T).
//
// Nodes (s, t) are taken by level, the anti-diagonal s + t or, modified, the frame t, so that a level's nodes do not touch
// one another. Forward keeps the share of each node's sum that came by a symbol; backward hands the probability of the end
// back along the shares, with no exponential and no sum that could overflow. See lattice/reference.py.
#include <cstdlib>

#include "common.h"
#include "vectormath.h"

static const float NEVER = -1e30f; // stands for -inf, whose differences are no numbers
static const int64_t LEVELS = 16;  // worked on together: a cache line of frames

// Arcs of one sort in one row: data[s * stride + t] leaves node (s, t), s < rows, t < frames.
struct Arcs {
    int64_t rows, frames, stride;
};

// Levels [first, first + n) of arcs, a level's side by side: chunk[k * width + s], NEVER where there is none.
static void take(float *chunk, int64_t width, const float *data, Arcs arcs, int64_t skew, int64_t first, int64_t n) {
    for (int64_t s = 0; s < arcs.rows; ++s) {
        int64_t t = first - skew * s;
        const float *from = data + s * arcs.stride + t;
        int64_t begin = min_of(max_of(0, -t), n), end = max_of(begin, min_of(n, arcs.frames - t));
        for (int64_t k = 0; k < begin; ++k) chunk[k * width + s] = NEVER;
        for (int64_t k = begin; k < end; ++k) chunk[k * width + s] = from[k] < NEVER ? NEVER : from[k];
        for (int64_t k = end; k < n; ++k) chunk[k * width + s] = NEVER;
    }
}

// The other way round.
static void give(const float *chunk, int64_t width, float *data, Arcs arcs, int64_t skew, int64_t first, int64_t n) {
    for (int64_t s = 0; s < arcs.rows; ++s) {
        int64_t t = first - skew * s;
        float *to = data + s * arcs.stride + t;
        int64_t end = min_of(n, arcs.frames - t);
        for (int64_t k = max_of(0, -t); k < end; ++k) to[k] = chunk[k * width + s];
    }
}

struct Lattice {
    int64_t symbols, frames, skew;
};

// Nodes on level n: s from low to high.
static int64_t low(Lattice lattice, int64_t n) { return lattice.skew ? max_of(0, n - lattice.frames) : 0; }
static int64_t high(Lattice lattice, int64_t n) { return min_of(lattice.symbols, n); }

// Sums stay float64, for a float32 score of 1e4 has no digits left for the ratio of two paths; ratios need no more.
static void enter(const double *__restrict before, double *__restrict sum, const float *__restrict px,
                  const float *__restrict py, float *__restrict share, int64_t low, int64_t high) {
    SIMD for (int64_t s = low; s <= high; ++s) {
        double x = before[s - 1] + px[s - 1], y = before[s] + py[s];
        float gap = (float)(x - y);
        float less = gap < 0 ? gap : -gap;
        Scaled e = exp_scaled(less < -87.0f ? -87.0f : less);
        float ratio = less < -86.0f ? 0.0f : e.mantissa * power_of_two(e.exponent);
        float larger = 1.0f / (1.0f + ratio);
        sum[s] = (gap < 0 ? y : x) + (double)log1p_unit(ratio);
        share[s] = gap < 0 ? ratio * larger : larger;
    }
}

// What each node of a level hands back: by its symbol arc to s - 1 of the level before, by its blank to s. What is too small
// to matter is dropped, for numbers below 1e-38 are slow.
static void leave(const float *__restrict gamma, const float *__restrict share, float *__restrict px,
                  float *__restrict py, int64_t low, int64_t high) {
    SIMD for (int64_t s = low; s <= high; ++s) {
        float x = gamma[s] * share[s], y = gamma[s] - x;
        px[s - 1] = x < 1e-30f ? 0 : x;
        py[s] = y < 1e-30f ? 0 : y;
    }
}

static void add(float *__restrict gamma, const float *__restrict px, const float *__restrict py, int64_t n) {
    SIMD for (int64_t s = 0; s < n; ++s) gamma[s] = px[s] + py[s];
}

// One row; px and py point at its first node, the occupancies are zero outside.
static float row_of(Lattice lattice, const float *px, const float *py, Arcs symbol, Arcs blank, float *px_occupancy,
                    float *py_occupancy) {
    // A level has room for node -1, which no path enters.
    const int64_t width = lattice.symbols + 2, last = lattice.frames + lattice.skew * lattice.symbols;
    double *sums = (double *)malloc(sizeof(double) * 2 * width);
    float *floats = (float *)malloc(sizeof(float) * width * (last + 1 + 2 * LEVELS + 1));
    float *shares = floats + 1, *x = shares + width * (last + 1), *y = x + width * LEVELS, *gamma = y + width * LEVELS;
    for (int64_t i = 0; i < 2 * width; ++i) sums[i] = NEVER;
    double *before = sums + 1, *sum = before + width;
    before[0] = 0;
    for (int64_t first = 0; first < last; first += LEVELS) {
        int64_t n = min_of(LEVELS, last - first);
        take(x, width, px, symbol, lattice.skew, first, n);
        take(y, width, py, blank, lattice.skew, first, n);
        for (int64_t k = 0; k < n; ++k) {
            int64_t level = first + k + 1;
            x[k * width - 1] = NEVER;
            enter(before, sum, x + k * width, y + k * width, shares + level * width, low(lattice, level),
                  high(lattice, level));
            double *swap = before;
            before = sum;
            sum = swap;
        }
    }
    double total = before[lattice.symbols];
    float score = total < 0.1 * NEVER ? -__builtin_inff() : (float)total;

    fill(gamma - 1, 0, width);
    gamma[lattice.symbols] = total < 0.1 * NEVER ? 0.0f : 1.0f;
    for (int64_t first = (last - 1) / LEVELS * LEVELS; last && first >= 0; first -= LEVELS) {
        int64_t n = min_of(LEVELS, last - first);
        fill(x - 1, 0, 2 * width * LEVELS);
        for (int64_t k = n - 1; k >= 0; --k) {
            int64_t level = first + k + 1;
            float *to_x = x + k * width, *to_y = y + k * width;
            leave(gamma, shares + level * width, to_x, to_y, low(lattice, level), high(lattice, level));
            to_x[-1] = 0;
            add(gamma, to_x, to_y, lattice.symbols + 1);
        }
        give(x, width, px_occupancy, symbol, lattice.skew, first, n);
        give(y, width, py_occupancy, blank, lattice.skew, first, n);
    }
    free(floats);
    free(sums);
    return score;
}

KERNEL(transducer_lattice)(int64_t batch, int64_t symbols, int64_t frames, int64_t regular, const float *px,
                           const float *py, const int64_t *boundary, float *score, float *px_occupancy,
                           float *py_occupancy, int64_t threads) {
    const int64_t px_frames = frames + regular, px_size = symbols * px_frames, py_size = (symbols + 1) * frames;
    parallel(batch, threads, [=](int64_t row) {
        const int64_t *box = boundary + 4 * row;
        Lattice lattice{box[2] - box[0], box[3] - box[1], regular};
        Arcs symbol{lattice.symbols, lattice.frames + regular, px_frames}, blank{lattice.symbols + 1, lattice.frames, frames};
        int64_t px_at = row * px_size + box[0] * px_frames + box[1], py_at = row * py_size + box[0] * frames + box[1];
        fill(px_occupancy + row * px_size, 0, px_size);
        fill(py_occupancy + row * py_size, 0, py_size);
        score[row] = row_of(lattice, px + px_at, py + py_at, symbol, blank, px_occupancy + px_at, py_occupancy + py_at);
    });
}
