// Beam search, frame by frame, in place. Names and the order of sums are those of audiorec/search/beam.py and words.py.
#include "beam.h"

namespace {

// Row `b` of what the call holds, as the state's leaves of K hypotheses.
struct Row {
    const Call &c;
    const int64_t b, K, V, N, F, W;
    float *score, *bonus, *blank, *symbol;
    int64_t *states, *last, *hash, *parent, *length, *node, *lm, *last_word;
    const Automaton *automata;

    Row(const Call &c, int64_t b)
        : c(c), b(b), K(c.beam), V(c.symbols), N(c.tried), F(c.columns), W(c.window), score(of_row(c.score, K)),
          bonus(of_row(c.bonus, K)), blank(of_row(c.blank, K)), symbol(of_row(c.symbol, K)),
          states(of_row(c.states, K * F)), last(of_row(c.last, K)), hash(of_row(c.hash, K)), parent(of_row(c.parent, K)),
          length(of_row(c.length, K)), node(of_row(c.node, K)), lm(of_row(c.lm, K)), last_word(of_row(c.last_word, K)),
          automata(c.automata + (c.owner ? c.owner[b] * F : 0)) {}

    template <class T> T *of_row(T *x, int64_t size) const { return x ? x + b * size : nullptr; }

    bool alive(int64_t k) const { return score[k] > NEVER; }

    // Whether there is more than the model's own scores.
    bool helped() const { return F || c.lexicon || c.gains; }

    // Hypothesis k's state in automaton f. Those of an owner that is gone may have had more states.
    int64_t state(int64_t k, int64_t f) const { return min_of(states[k * F + f], automata[f].states - 1); }

    // The score with what the end of the automata adds.
    float ended(int64_t k) const {
        if (!F) return score[k];
        float sum = 0;
        for (int64_t f = 0; f < F; ++f) sum += automata[f].final[state(k, f)];
        return score[k] + sum;
    }

    // body(k, its score if the stream ends here). Half a word is out, unless all have one: then it counts for nothing.
    template <class Body> void each_final(const Body &body) const {
        bool any_between = false;
        for (int64_t k = 0; k < K && c.lexicon; ++k) any_between |= c.lexicon->between(node[k]) && ended(k) > NEVER;
        for (int64_t k = 0; k < K; ++k) {
            const float value = ended(k);
            if (!c.lexicon) body(k, value);
            else if (c.lexicon->between(node[k])) body(k, value + c.lexicon->lm->final[lm[k]]);
            else body(k, any_between ? NEVER : value - c.lexicon->ahead[node[k]]);
        }
    }

    void tell_margin() const {
        if (K == 1) return;
        float first = NEVER, second = NEVER;
        each_final([&](int64_t, float value) {
            if (value > first) second = first, first = value;
            else if (value > second) second = value;
        });
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

    // A token, and the word that ends with it: what histories are made of.
    int64_t label(int64_t token, int64_t word) const { return r.c.lexicon ? token + word * r.V : token; }

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

    // i plus the last label of j is j: it is merged with j instead of being one more.
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
                w.kids[i * K + w.children[i]++] = label(token, r.last_word ? r.last_word[j] : 0);
                float value = before(i, token) + of(i)[token];
                if (r.helped()) value += r.bonus[j] - r.bonus[i];
                if (value > arriving) arriving = value, w.from[j] = i;
            }
            w.arriving[j] = arriving;
            w.plain[j] = r.score[j] + of(j)[BLANK];
            if (CTC) w.plain[j] = log_add(w.plain[j], r.symbol[j] + of(j)[token]);
            w.stay[j] = log_add(w.plain[j], arriving);
        }
    }

    void pick() {
        const Words *words = r.c.lexicon;
        w.picked = 0;
        float most = words ? (float)words->most : 0;
        for (int64_t f = 0; f < r.F; ++f) most += (float)r.automata[f].most;
        for (int64_t k = 0; k < r.K; ++k)
            if (r.alive(k)) enter(w.stay[k], k, -1, here(k));
        for (int64_t k = 0; k < r.K; ++k) {
            if (!r.alive(k)) continue;
            const int64_t row = CTC ? 0 : k;
            float bound = r.score[k] + most - (words ? words->ahead[r.node[k]] : 0);
            if (gains(k)) bound += most_gained(k, row);
            for (int64_t n = 0; n < w.found[row]; ++n) {
                const float best = w.best[row * r.N + n];
                if (w.picked == r.K && !(bound + best + SLACK > w.picks[r.K - 1].score)) break; // no later one is likelier
                const int64_t token = w.tokens[row * r.N + n];
                if (words) mean(k, n, token, before(k, token) + best);
                else if (!merged(k, token)) {
                    const float gained = r.helped() ? look_up(k, n, token) : 0;
                    enter(before(k, token) + best + gained, k, n, {0, 0, 0, gained});
                }
            }
        }
        while (w.picked > 1 && w.picks[w.picked - 1].score < w.picks[0].score - (float)r.c.threshold) --w.picked;
    }

    // What it means for the hypothesis's words to go on as it is.
    Meaning here(int64_t k) const {
        if (!r.c.lexicon) return {0, 0, 0, 0};
        return {r.last_word[k], r.node[k], r.lm[k], 0};
    }

    // Each of the things that a token may mean: the word goes on, a word ends with it, it spells a word that is none.
    void mean(int64_t k, int64_t n, int64_t token, float value) {
        const Words &words = *r.c.lexicon;
        const int64_t node = r.node[k], lm = r.lm[k];
        const bool unknown = words.unk_score == words.unk_score, begins = unknown && words.word_begins[token];
        const bool spells = unknown && (begins ? words.between(node) : node == words.spelling);
        const int64_t child = words.child(node == words.spelling ? 0 : node, token);
        if (!child && !spells) return;
        const float ahead = words.ahead[node], given = look_up(k, n, token);
        value += given;
        auto enters = [&](int64_t word, int64_t node, int64_t lm, float gained) {
            if (!merged(k, label(token, word))) enter(value + gained, k, n, {word, node, lm, given + gained});
        };
        if (child && words.first[child] < words.first[child + 1])
            enters(0, child, lm, words.ahead[child] - ahead);
        for (int64_t e = child ? words.ends[child] : 0; child && e < words.ends[child + 1]; ++e) {
            const int64_t word = words.word[e];
            int64_t after = lm;
            const float weight = words.silent[word] ? 0 : words.lm->step(lm, word - 1, &after);
            enters(word, 0, after, words.weight[e] + weight - ahead);
        }
        if (spells) {
            int64_t after = lm;
            const float gained = begins ? (float)words.unk_score + words.lm->step(lm, words.unknown - 1, &after) : 0;
            enters(words.unknown, words.spelling, after, gained);
        }
    }

    bool merged(int64_t k, int64_t label) const {
        for (int64_t i = 0; i < w.children[k]; ++i)
            if (w.kids[k * r.K + i] == label) return true;
        return false;
    }

    const float *gains(int64_t k) const { return r.c.gains ? r.c.gains + (r.b * r.K + k) * r.V : nullptr; }

    float most_gained(int64_t k, int64_t row) const {
        float most = NEVER;
        for (int64_t n = 0; n < w.found[row]; ++n) {
            const float gained = gains(k)[w.tokens[row * r.N + n]];
            if (gained > most) most = gained;
        }
        return most;
    }

    // What a token gains, words aside.
    float look_up(int64_t k, int64_t n, int64_t token) {
        float sum = 0;
        int64_t *reached = w.reached + (k * r.N + n) * r.F;
        for (int64_t f = 0; f < r.F; ++f) sum += r.automata[f].step(r.state(k, f), token, reached + f);
        return gains(k) ? gains(k)[token] + sum : sum;
    }

    void enter(float score, int64_t source, int64_t slot, const Meaning &meaning) {
        if (!(score > NEVER) || (w.picked == r.K && !(score > w.picks[r.K - 1].score))) return;
        int64_t to = w.picked < r.K ? w.picked++ : r.K - 1;
        for (; to > 0 && score > w.picks[to - 1].score; --to) w.picks[to] = w.picks[to - 1];
        w.picks[to] = {score, source, slot, meaning};
    }

    // The new hypotheses, beside the old ones.
    void grow() {
        const float top = w.picked ? w.picks[0].score : 0;
        for (int64_t s = 0; s < w.picked; ++s) {
            const Pick &pick = w.picks[s];
            const int64_t k = pick.source;
            const bool stays = pick.slot < 0;
            const int64_t token = stays ? r.last[k] : w.tokens[(CTC ? 0 : k * r.N) + pick.slot];
            w.last[s] = token;
            if (stays) {
                w.hash[s] = r.hash[k], w.parent[s] = r.parent[k];
            } else {
                const uint64_t added = (uint64_t)label(token, pick.meaning.word);
                const int64_t longer = (int64_t)(((uint64_t)r.hash[k] + added) * MULTIPLIER);
                w.hash[s] = longer ^ (longer >> 32), w.parent[s] = r.hash[k];
            }
            w.score[s] = pick.score - top;
            if (CTC) {
                w.blank[s] = stays ? r.score[k] + scores[BLANK] - top : NEVER;
                w.symbol[s] = (stays ? log_add(r.symbol[k] + scores[token], w.arriving[k]) : pick.score) - top;
            }
            w.bonus[s] = r.bonus[k] + pick.meaning.gained;
            const int64_t *states = stays ? r.states + k * r.F : w.reached + (k * r.N + pick.slot) * r.F;
            for (int64_t f = 0; f < r.F; ++f) w.states[s * r.F + f] = states[f];
        }
    }

    // What histories hold, each (K, W), and where it may be put aside.
    template <class Body> void each_part(const Body &body) {
        const int64_t start = r.b * r.K * r.W;
        body(r.c.ids + start, w.ids);
        body(r.c.frames + start, w.frames);
        body(r.c.log_probs + start, w.log_probs);
        if (r.c.words) body(r.c.words + start, w.words);
    }

    // Histories in the new order, each with its new token; whether one fills the window.
    bool remember() {
        const int64_t K = r.K, W = r.W, start = r.b * K * W;
        bool moves = false, full = false;
        for (int64_t s = 0; s < K; ++s) moves |= origin(s) != s;
        if (moves) {
            for (int64_t k = 0; k < K; ++k) w.length[k] = min_of(r.length[k], W);
            each_part([&](auto *now, auto *aside) {
                for (int64_t k = 0; k < K; ++k) memcpy(aside + k * W, now + k * W, w.length[k] * sizeof *now);
                for (int64_t s = 0; s < K; ++s) {
                    const int64_t k = origin(s), n = k < 0 ? 0 : w.length[k];
                    if (k == s) continue;
                    if (n) memcpy(now + s * W, aside + k * W, n * sizeof *now);
                    if (n < w.length[s]) memset(now + s * W + n, 0, (w.length[s] - n) * sizeof *now);
                }
            });
            for (int64_t s = 0; s < K; ++s) r.length[s] = origin(s) < 0 ? 0 : w.length[origin(s)];
        }
        for (int64_t s = 0; s < w.picked; ++s) {
            if ((w.picks[s].slot < 0 && !overtaken(s)) || r.length[s] >= W) continue;
            const int64_t at = start + s * W + r.length[s]++;
            const float *sure = of(origin(s));
            r.c.ids[at] = w.last[s];
            r.c.frames[at] = r.c.frame[r.b];
            r.c.log_probs[at] = without_blank(sure[w.last[s]], sure[BLANK]);
            if (r.c.words) r.c.words[at] = w.picks[s].meaning.word;
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

    // The first label of a hypothesis's history; 0: it has none.
    int64_t first(int64_t s) const {
        const int64_t at = (r.b * r.K + s) * r.W;
        return r.length[s] ? label(r.c.ids[at], r.c.words ? r.c.words[at] : 0) : 0;
    }

    // The new state, but for the histories. Where one is full, those that begin otherwise than the best are dropped.
    void settle(bool full) {
        const int64_t K = r.K, F = r.F;
        for (int64_t s = 0; s < K; ++s) {
            const bool alive = s < w.picked && !(full && first(s) != first(0));
            r.score[s] = alive ? w.score[s] : NEVER;
            if (CTC) r.blank[s] = alive ? w.blank[s] : NEVER, r.symbol[s] = alive ? w.symbol[s] : NEVER;
            if (r.c.source) {
                r.c.source[r.b * K + s] = s < w.picked ? w.picks[s].source : 0;
                r.c.token[r.b * K + s] = alive && w.picks[s].slot >= 0 ? w.last[s] : 0;
            }
            if (!w.picked) continue;
            const int64_t k = s < w.picked ? s : 0;
            if (r.helped()) r.bonus[s] = w.bonus[k] - w.bonus[0];
            r.last[s] = w.last[k], r.hash[s] = w.hash[k], r.parent[s] = w.parent[k];
            for (int64_t f = 0; f < F; ++f) r.states[s * F + f] = w.states[k * F + f];
            if (!r.c.lexicon) continue;
            const Meaning &meaning = w.picks[k].meaning;
            r.last_word[s] = meaning.word, r.node[s] = meaning.node, r.lm[s] = meaning.lm;
        }
        r.c.frame[r.b] += 1;
    }

    // The first token, once all agree on it and its word, leaves.
    void commit(bool full) {
        if (!w.picked || first(0) == 0) return;
        for (int64_t s = 1; s < r.K && !full; ++s)
            if (r.alive(s) && first(s) != first(0)) return;
        const int64_t start = r.b * r.K * r.W, all = r.c.batch * r.c.time, to = r.b * r.c.time + r.c.said[r.b]++;
        int64_t *said = r.c.said + r.c.batch;
        said[to] = r.c.ids[start];
        said[all + to] = r.c.frames[start];
        if (r.c.words) said[2 * all + to] = r.c.words[start];
        ((float *)(said + 3 * all))[to] = r.c.log_probs[start];
        each_part([&](auto *now, auto *) {
            for (int64_t s = 0; s < r.K; ++s) {
                const int64_t n = r.length[s];
                auto *x = now + s * r.W;
                if (n) memmove(x, x + 1, (n - 1) * sizeof *x), x[n - 1] = 0;
            }
        });
        for (int64_t s = 0; s < r.K; ++s) r.length[s] = max_of(0, r.length[s] - 1);
    }
};

// body(row, what it works with) for each row that has frames. 1: memory is lacking; -1: Python's structure is another.
template <class Body> int64_t each_row(const Call *call, int64_t threads, const Body &body) {
    if (call->bytes != (int64_t)sizeof(Call)) return -1;
    int64_t lacking = 0;
    parallel(call->batch, threads, [=, &lacking, &body](int64_t b) {
        const int64_t frames = frames_of(call->lengths, b, call->time);
        if (frames <= call->at) return;
        Work work(*call);
        const Row row(*call, b);
        if (work.memory) {
            body(row, work, frames);
            row.tell_margin();
        } else lacking = 1;
    });
    return lacking;
}

} // namespace

// Each row's frames by CTC.
KERNEL_EXPORT int64_t KERNEL_JOIN(ctc_beam, AUDIOREC_LEVEL)(const Call *call, int64_t threads) {
    return each_row(call, threads, [=](const Row &row, Work &work, int64_t frames) {
        for (int64_t t = 0; t < frames; ++t)
            Frame<true>{row, work, call->scores + (row.b * call->time + t) * row.V}.advance();
    });
}

// The scores that hypotheses have if the stream ends here: to `final` (B, K).
KERNEL_EXPORT int64_t KERNEL_JOIN(beam_final, AUDIOREC_LEVEL)(const Call *call, float *final) {
    if (call->bytes != (int64_t)sizeof(Call)) return -1;
    for (int64_t b = 0; b < call->batch; ++b)
        Row(*call, b).each_final([=](int64_t k, float value) { final[b * call->beam + k] = value; });
    return 0;
}

// Frame `at` of each row that has one, by the log-probabilities after each of its hypotheses.
KERNEL_EXPORT int64_t KERNEL_JOIN(transducer_beam, AUDIOREC_LEVEL)(const Call *call, int64_t threads) {
    for (int64_t i = 0; i < call->batch * call->beam; ++i) call->source[i] = i % call->beam, call->token[i] = 0;
    return each_row(call, threads, [=](const Row &row, Work &work, int64_t) {
        Frame<false>{row, work, call->scores + row.b * row.K * row.V}.advance();
    });
}
