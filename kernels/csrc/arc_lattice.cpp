// A lattice with any sorts of arcs: score (B,) and occupancies of arcs (K, B, S+1, T+1), arc k from node (s, t) to node
// (s, t) + moves[k], so many symbols and frames.
//
// Nodes are taken symbol by symbol, within one frame by frame: what leads to a node comes before it. As in lattice.cpp, the
// way there keeps each arc's share of the sum at the node it leads to, where its occupancy is to stand; the way back
// multiplies it by that node's probability. See lattice/reference.py.
#include <cstdlib>

#include "common.h"
#include "vectormath.h"

static const float NEVER = -1e30f; // stands for -inf, whose differences are no numbers
static const int64_t LANES = 16;

struct Moves {
    int64_t sorts;
    const int64_t *moves; // (K, 2)
    int64_t symbols(int64_t k) const { return moves[2 * k]; }
    int64_t frames(int64_t k) const { return moves[2 * k + 1]; }
};

// Arcs or occupancies of one row: sort k's of node (s, t) at data[k * sort + s * stride + t].
struct Grid {
    int64_t sort, stride;
    int64_t at(int64_t k, int64_t s, int64_t t) const { return k * sort + s * stride + t; }
};

struct Box {
    int64_t first_s, first_t, last_s, last_t;
};

static float row_of(Moves moves, Grid grid, Box box, const float *arcs, float *occupancy) {
    const int64_t width = box.last_t - box.first_t + 1, nodes = (box.last_s - box.first_s + 1) * width;
    const int64_t lanes = (moves.sorts + LANES - 1) / LANES * LANES;
    // Sums are float64, for a float32 score of 1e4 has no digits left for the ratio of two paths; ratios need no more.
    double *sums = (double *)malloc(sizeof(double) * (nodes + lanes));
    float *gamma = (float *)malloc(sizeof(float) * (nodes + lanes));
    double *__restrict x = sums + nodes;
    float *__restrict share = gamma + nodes;
    for (int64_t i = 0; i < nodes; ++i) {
        const int64_t s = box.first_s + i / width, t = box.first_t + i % width;
        double most = NEVER;
        for (int64_t k = 0; k < lanes; ++k) x[k] = NEVER;
        for (int64_t k = 0; k < moves.sorts; ++k) {
            const int64_t ds = moves.symbols(k), dt = moves.frames(k);
            if (s - ds < box.first_s || t - dt < box.first_t) continue;
            const float arc = arcs[grid.at(k, s - ds, t - dt)];
            x[k] = sums[i - ds * width - dt] + (arc < NEVER ? NEVER : arc);
            most = x[k] > most ? x[k] : most;
        }
        SIMD for (int64_t k = 0; k < lanes; ++k) {
            const float less = (float)(x[k] - most);
            share[k] = less < -86.0f ? 0.0f : exp_of(less);
        }
        float total = 0;
        for (int64_t k = 0; k < lanes; ++k) total += share[k];
        const bool never = most < 0.1 * NEVER && total == total; // a sum that is not a number stays so
        sums[i] = i == 0 ? 0 : never ? NEVER : most + (double)__builtin_logf(total);
        for (int64_t k = 0; k < moves.sorts; ++k) {
            const int64_t ds = moves.symbols(k), dt = moves.frames(k);
            if (s - ds < box.first_s || t - dt < box.first_t) continue;
            occupancy[grid.at(k, s - ds, t - dt)] = never ? 0.0f : share[k] / total;
        }
    }
    const double total = sums[nodes - 1];
    const bool never = total < 0.1 * NEVER;

    for (int64_t i = nodes - 1; i >= 0; --i) {
        const int64_t s = box.first_s + i / width, t = box.first_t + i % width;
        float sum = i == nodes - 1 && !never ? 1.0f : 0.0f;
        for (int64_t k = 0; k < moves.sorts; ++k) {
            const int64_t ds = moves.symbols(k), dt = moves.frames(k);
            if (s + ds > box.last_s || t + dt > box.last_t) continue;
            float *of = occupancy + grid.at(k, s, t);
            const float flow = *of * gamma[i + ds * width + dt];
            *of = flow < 1e-30f ? 0 : flow; // numbers below 1e-38 are slow
            sum += *of;
        }
        gamma[i] = sum;
    }
    free(sums);
    free(gamma);
    return never ? -__builtin_inff() : (float)total;
}

KERNEL(arc_lattice)(int64_t batch, int64_t symbols, int64_t frames, int64_t sorts, const float *arcs,
                    const int64_t *moves, const int64_t *boundary, float *score, float *occupancy, int64_t threads) {
    const int64_t size = (symbols + 1) * (frames + 1);
    parallel(batch, threads, [=](int64_t row) {
        const int64_t *box = boundary + 4 * row;
        const Grid grid{batch * size, frames + 1};
        for (int64_t k = 0; k < sorts; ++k) fill(occupancy + k * grid.sort + row * size, 0, size);
        score[row] = row_of(Moves{sorts, moves}, grid, Box{box[0], box[1], box[2], box[3]}, arcs + row * size,
                            occupancy + row * size);
    });
}
