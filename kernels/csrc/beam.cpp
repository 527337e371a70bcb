// Beam search, frame by frame, in place. Every name and every order of sums is that of audiorec/search/beam.py.
#include "beam.h"

namespace {

// Row `b` of what the call holds, as the state's leaves of K hypotheses.
struct Row {
    const Call &c;
    const int64_t b, K, V, N, F, W;
    float *score, *bonus, *blank, *symbol;
    int64_t *states, *last, *hash, *parent, *length;

    Row(const Call &c, int64_t b)
        : c(c), b(b), K(c.beam), V(c.symbols), N(c.tried), F(c.columns), W(c.window), score(c.score + b * K),
          bonus(c.bonus + b * K), blank(c.blank ? c.blank + b * K : nullptr),
          symbol(c.symbol ? c.symbol + b * K : nullptr), states(c.states + b * K * F), last(c.last + b * K),
          hash(c.hash + b * K), parent(c.parent + b * K), length(c.length + b * K) {}

    bool alive(int64_t k) const { return score[k] > NEVER; }

    // Hypothesis k's state in automaton f, as that numbers it itself; in a pool the row's automata lie among others.
    int64_t state(int64_t k, int64_t f) const {
        const int64_t own = states[k * F + f];
        if (!c.owner) return own;
        const int64_t *table = c.table + c.owner[b] * 3 * F;
        return min_of(own, table[F + f]) + table[f];
    }

    float final(int64_t k) const {
        if (!F) return score[k];
        float sum = 0;
        for (int64_t f = 0; f < F; ++f) sum += c.automata[f].final[state(k, f)];
        return score[k] + sum;
    }

    void tell_margin() const {
        if (K == 1) return;
        float first = NEVER, second = NEVER;
        for (int64_t k = 0; k < K; ++k) {
            const float value = final(k);
            if (value > first) second = first, first = value;
            else if (value > second) second = value;
        }
        const float gap = first - second;
        c.margin[b] = gap < c.dropped[b] ? gap : c.dropped[b];
    }
};

// One frame of a row. CTC: `scores` (V,) are those of every hypothesis, and a token after itself needs a blank between.
template <bool CTC> struct Frame {
    const Row &r;
    Work &w;
    const float *scores;

    const float *of(int64_t k) const { return CTC ? scores : scores + k * r.V; }
    float before(int64_t k, int64_t token) const { return CTC && token == r.last[k] ? r.blank[k] : r.score[k]; }

    void advance() {
        try_tokens();
        merge();
        pick();
        grow();
        const bool full = remember();
        settle(full);
        commit(full);
    }

    void try_tokens() {
        const int64_t K = CTC ? 1 : r.K;
        for (int64_t k = 0; k < K; ++k) {
            if (!CTC && !r.alive(k)) continue;
            int64_t *tokens = w.tokens + k * r.N;
            w.found[k] = highest(of(k) + BLANK + 1, r.V - BLANK - 1, r.N, w.best + k * r.N, tokens);
            for (int64_t n = 0; n < w.found[k]; ++n) tokens[n] += BLANK + 1;
        }
    }

    // i plus the last token of j is j: it is merged with j instead of being one more.
    void merge() {
        const int64_t K = r.K;
        for (int64_t i = 0; i < K; ++i) w.children[i] = 0;
        for (int64_t j = 0; j < K; ++j) {
            if (!r.alive(j)) continue;
            const int64_t token = r.last[j];
            float arriving = NEVER;
            w.from[j] = j;
            for (int64_t i = 0; i < K; ++i) {
                if (r.hash[i] != r.parent[j] || !r.alive(i)) continue;
                w.kids[i * K + w.children[i]++] = token;
                float value = before(i, token) + of(i)[token];
                if (r.F) value += r.bonus[j] - r.bonus[i];
                if (value > arriving) arriving = value, w.from[j] = i;
            }
            w.arriving[j] = arriving;
            w.plain[j] = r.score[j] + of(j)[BLANK];
            if (CTC) w.plain[j] = log_add(w.plain[j], r.symbol[j] + of(j)[token]);
            w.stay[j] = log_add(w.plain[j], arriving);
        }
    }

    void pick() {
        w.picked = 0;
        float most = 0;
        for (int64_t f = 0; f < r.F; ++f) most += (float)r.c.automata[f].most;
        for (int64_t k = 0; k < r.K; ++k)
            if (r.alive(k)) enter(w.stay[k], k, -1);
        for (int64_t k = 0; k < r.K; ++k) {
            if (!r.alive(k)) continue;
            const int64_t row = CTC ? 0 : k;
            for (int64_t n = 0; n < w.found[row]; ++n) {
                const int64_t token = w.tokens[row * r.N + n];
                                const float best = w.best[row * r.N + n];
                if (w.picked == r.K && !(r.score[k] + best + most > w.picks[r.K - 1].score)) break; // none is likelier
                if (merged(k, token)) continue;
                float value = before(k, token) + best;
                if (r.F) value += look_up(k, n, token);
                enter(value, k, n);
            }
        }
    }

    bool merged(int64_t k, int64_t token) const {
        for (int64_t i = 0; i < w.children[k]; ++i)
            if (w.kids[k * r.K + i] == token) return true;
        return false;
    }

    float look_up(int64_t k, int64_t n, int64_t token) {
        float sum = 0;
        int64_t *reached = w.reached + (k * r.N + n) * r.F;
        for (int64_t f = 0; f < r.F; ++f) sum += r.c.automata[f].step(r.state(k, f), token, reached + f);
        return w.gained[k * r.N + n] = sum;
    }

    void enter(float score, int64_t source, int64_t slot) {
        if (!(score > NEVER) || (w.picked == r.K && !(score > w.picks[r.K - 1].score))) return;
        int64_t to = w.picked < r.K ? w.picked++ : r.K - 1;
        for (; to > 0 && score > w.picks[to - 1].score; --to) w.picks[to] = w.picks[to - 1];
        w.picks[to] = {score, source, slot};
    }

    int64_t token_of(const Pick &pick) const {
        return pick.slot < 0 ? r.last[pick.source] : w.tokens[(CTC ? 0 : pick.source * r.N) + pick.slot];
    }

    // The new hypotheses, beside the old ones.
    void grow() {
        const float top = w.picked ? w.picks[0].score : 0;
        for (int64_t s = 0; s < w.picked; ++s) {
            const Pick &pick = w.picks[s];
            const int64_t k = pick.source, token = token_of(pick);
            const bool stays = pick.slot < 0;
            w.last[s] = token;
            if (stays) {
                w.hash[s] = r.hash[k], w.parent[s] = r.parent[k];
            } else {
                const int64_t longer = (int64_t)(((uint64_t)r.hash[k] + (uint64_t)token) * MULTIPLIER);
                w.hash[s] = longer ^ (longer >> 32), w.parent[s] = r.hash[k];
            }
            w.score[s] = pick.score - top;
            if (CTC) {
                w.blank[s] = stays ? r.score[k] + scores[BLANK] - top : NEVER;
                w.symbol[s] = (stays ? log_add(r.symbol[k] + scores[r.last[k]], w.arriving[k]) : pick.score) - top;
            }
            w.bonus[s] = r.bonus[k];
            const int64_t *states = r.states + k * r.F;
            if (!stays && r.F) {
                w.bonus[s] += w.gained[k * r.N + pick.slot];
                states = w.reached + (k * r.N + pick.slot) * r.F;
            }
            for (int64_t f = 0; f < r.F; ++f) w.states[s * r.F + f] = states[f];
        }
    }

    // Histories in the new order, each with its new token; whether one fills the window.
    bool remember() {
        const int64_t K = r.K, W = r.W, start = r.b * K * W;
        int64_t *ids = r.c.ids + start, *frames = r.c.frames + start;
        float *log_probs = r.c.log_probs + start;
        bool moves = false, full = false;
        for (int64_t s = 0; s < K; ++s) moves |= origin(s) != s;
        if (moves) {
            for (int64_t k = 0; k < K; ++k) {
                const int64_t n = w.length[k] = min_of(r.length[k], W);
                memcpy(w.ids + k * W, ids + k * W, n * sizeof *ids);
                memcpy(w.frames + k * W, frames + k * W, n * sizeof *frames);
                memcpy(w.log_probs + k * W, log_probs + k * W, n * sizeof *log_probs);
            }
            for (int64_t s = 0; s < K; ++s) {
                const int64_t k = origin(s), n = k < 0 ? 0 : w.length[k], rest = max_of(0, w.length[s] - n);
                if (k == s) continue;
                memcpy(ids + s * W, w.ids + k * W, n * sizeof *ids);
                memcpy(frames + s * W, w.frames + k * W, n * sizeof *frames);
                memcpy(log_probs + s * W, w.log_probs + k * W, n * sizeof *log_probs);
                memset(ids + s * W + n, 0, rest * sizeof *ids);
                memset(frames + s * W + n, 0, rest * sizeof *frames);
                memset(log_probs + s * W + n, 0, rest * sizeof *log_probs);
                r.length[s] = n;
            }
        }
        for (int64_t s = 0; s < w.picked; ++s) {
            if ((w.picks[s].slot < 0 && !overtaken(s)) || r.length[s] >= W) continue;
            const int64_t at = s * W + r.length[s]++;
            const float *sure = of(origin(s));
            ids[at] = w.last[s];
            frames[at] = r.c.frame[r.b];
            log_probs[at] = without_blank(sure[w.last[s]], sure[BLANK]);
            full |= r.length[s] == W;
        }
        return full;
    }

    // The hypothesis that became equal to this one is likelier, and tells the times.
    bool overtaken(int64_t s) const {
        const Pick &pick = w.picks[s];
        return pick.slot < 0 && w.arriving[pick.source] > w.plain[pick.source];
    }

    int64_t origin(int64_t s) const { // -1: no hypothesis is here
        if (s >= w.picked) return -1;
        return overtaken(s) ? w.from[w.picks[s].source] : w.picks[s].source;
    }

    int64_t first(int64_t s) const { return r.length[s] ? r.c.ids[(r.b * r.K + s) * r.W] : 0; }

    // The new state, but for the histories. Where one is full, those that begin otherwise than the best are dropped.
    void settle(bool full) {
        const int64_t K = r.K, F = r.F;
        for (int64_t s = 0; s < K; ++s) {
            const bool alive = s < w.picked && !(full && first(s) != first(0));
            const int64_t k = s < w.picked ? s : 0;
            r.score[s] = alive ? w.score[s] : NEVER;
            if (CTC) r.blank[s] = alive ? w.blank[s] : NEVER, r.symbol[s] = alive ? w.symbol[s] : NEVER;
            if (r.c.source) {
                r.c.source[r.b * K + s] = s < w.picked ? w.picks[s].source : 0;
                r.c.token[r.b * K + s] = alive && w.picks[s].slot >= 0 ? w.last[s] : 0;
            }
            if (!w.picked) continue;
            if (F) r.bonus[s] = w.bonus[k] - w.bonus[0];
            r.last[s] = w.last[k], r.hash[s] = w.hash[k], r.parent[s] = w.parent[k];
            for (int64_t f = 0; f < F; ++f) r.states[s * F + f] = w.states[k * F + f];
        }
        r.c.frame[r.b] += 1;
    }

    // The first token, once all agree on it, leaves.
    void commit(bool full) {
        const int64_t K = r.K, W = r.W, token = first(0);
        if (!w.picked || token == 0) return;
        for (int64_t s = 1; s < K && !full; ++s)
            if (r.alive(s) && first(s) != token) return;
        const int64_t start = r.b * K * W, to = r.b * r.c.time + r.c.said[r.b]++, all = r.c.batch * r.c.time;
        int64_t *ids = r.c.said + r.c.batch, *frames = ids + all;
        ids[to] = token;
        frames[to] = r.c.frames[start];
        ((float *)(frames + all))[to] = r.c.log_probs[start];
        for (int64_t s = 0; s < K; ++s) {
            if (r.length[s] == 0) continue;
            shift(r.c.ids + start + s * W, r.length[s]);
            shift(r.c.frames + start + s * W, r.length[s]);
            shift(r.c.log_probs + start + s * W, r.length[s]);
            r.length[s] -= 1;
        }
    }

    template <class T> static void shift(T *x, int64_t n) {
        memmove(x, x + 1, (n - 1) * sizeof *x);
        x[n - 1] = 0;
    }
};

// Whether Python's structure is this one's.
inline bool known(const Call *c) { return c->bytes == (int64_t)sizeof(Call); }

} // namespace

// Each row's frames by CTC. False where memory is lacking.
KERNEL_EXPORT int64_t KERNEL_JOIN(ctc_beam, AUDIOREC_LEVEL)(const Call *call, int64_t threads) {
    if (!known(call)) return -1;
    int64_t lacking = 0;
    parallel(call->batch, threads, [=, &lacking](int64_t b) {
        const Row row(*call, b);
        const int64_t frames = frames_of(call->lengths, b, call->time);
        if (frames == 0) return;
        Work work(*call);
        if (!work.memory) {
            lacking = 1;
            return;
        }
        for (int64_t t = 0; t < frames; ++t)
            Frame<true>{row, work, call->scores + (b * call->time + t) * call->symbols}.advance();
        row.tell_margin();
    });
    return lacking;
}

// Frame `at` of each row that has one, by the log-probabilities after each of its hypotheses.
KERNEL_EXPORT int64_t KERNEL_JOIN(transducer_beam, AUDIOREC_LEVEL)(const Call *call, int64_t threads) {
    if (!known(call)) return -1;
    int64_t lacking = 0;
    parallel(call->batch, threads, [=, &lacking](int64_t b) {
        const Row row(*call, b);
        if (call->at >= frames_of(call->lengths, b, call->time)) {
            for (int64_t k = 0; k < call->beam; ++k)
                call->source[b * call->beam + k] = k, call->token[b * call->beam + k] = 0;
            return;
        }
        Work work(*call);
        if (!work.memory) {
            lacking = 1;
            return;
        }
        Frame<false>{row, work, call->scores + b * call->beam * call->symbols}.advance();
        row.tell_margin();
    });
    return lacking;
}
