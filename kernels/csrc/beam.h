// A beam search's inner loop (audiorec/search/beam.py is its definition): K hypotheses of a row, and their next frame.
#pragma once
#include "common.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

namespace {

const int64_t BLANK = 0;
const float NEVER = -INFINITY;
const float SLACK = 1e-3f; // of bounds, for what rounding adds
const uint64_t MULTIPLIER = 0x5851F42D4C957F2D; // of the hash

// An automaton with failure transitions: arcs in the order of state · symbols + symbol, those of a state from its `begins` to
// the next one's.
struct Automaton {
    const int64_t *keys;
    const float *weights;
    const int64_t *targets;
    const int64_t *begins;
    const int64_t *failure;
    const float *failure_weights;
    const float *final;
    int64_t symbols, states;
    double most; // no symbol weighs more, in any state

    int64_t arc(int64_t state, int64_t symbol) const { // -1: there is none
        int64_t low = begins[state], high = begins[state + 1];
        if (high - low == symbols) return low + symbol;
        const int64_t key = state * symbols + symbol, end = high;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (keys[middle] < key) low = middle + 1;
            else high = middle;
        }
        return low < end && keys[low] == key ? low : -1;
    }

    float step(int64_t state, int64_t symbol, int64_t *target) const {
        const int64_t at = arc(state, symbol);
        if (at < 0) return failure_weights[state] + step(failure[state], symbol, target);
        *target = targets[at];
        return weights[at];
    }
};

// A lexicon's prefix tree, and what scores its words (audiorec/search/words.py, whose names these are).
struct Words {
    const int64_t *first, *symbol; // (nodes + 1,): the first child of a node; (nodes,): the token that leads to it
    const int64_t *ends, *word;    // (nodes + 1,): the first entry that a node ends; (entries,): its word
    const float *weight;
    const float *ahead;         // (nodes + 1,)
    const uint8_t *silent;      // (words + 1,)
    const uint8_t *word_begins; // (symbols,), of tokens
    const Automaton *lm;
    int64_t spelling, unknown; // the node, and the word, of words that are spelled
    double unk_score;          // NaN: there are none
    double most;               // no word or part of one gains more, but for the look-ahead that is given back

    int64_t child(int64_t node, int64_t token) const { // 0, the root: there is none
        int64_t low = first[node], high = first[node + 1];
        const int64_t end = high;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (symbol[middle] < token) low = middle + 1;
            else high = middle;
        }
        return low < end && symbol[low] == token ? low : 0;
    }

    bool between(int64_t node) const { return node == 0 || node == spelling; }
};

// What a token means for the word that a hypothesis is in.
struct Meaning {
    int64_t word, node, lm;
    float gained;
};

// What Python fills in (audiorec_kernels/beam): sizes, and the leaves of the state, batch B first. `at` is the frame that is
// searched, where they come one by one.
struct Call {
    int64_t bytes; // of this structure, as a check
    int64_t batch, time, symbols, beam, tried, window, columns, at;
    const float *scores;    // log-probabilities (B, T, V) of CTC, (B, K, V) of a transducer
    const float *gains;     // (B, K, V): what each symbol gains beside, or null
    const int64_t *lengths; // (B,) or null
    float *score, *bonus;   // (B, K)
    int64_t *states;        // (B, K, F), of the automata
    int64_t *last, *hash, *parent;
    int64_t *ids, *frames; // (B, K, W)
    float *log_probs;
    int64_t *length;       // (B, K)
    int64_t *node, *lm, *last_word, *words; // (B, K), and of the history (B, K, W); null where there is no lexicon
    float *blank, *symbol; // (B, K), of CTC
    int64_t *frame;        // (B,)
    float *margin;
    const float *dropped;
    const Automaton *automata; // (F,), or of each owner
    const Words *lexicon;      // or null
    const int64_t *owner;      // (B,), or null: the first
    int64_t *said; // the numbers (B,) of tokens that are committed; their ids (B, T), frames, words, float32 log-probabilities
    int64_t *source, *token; // (B, K): where each hypothesis comes from; its new token, 0 where it has none
    double threshold; // infinite where no hypothesis is dropped for its score alone
};

struct Pick {
    float score;
    int64_t source, slot; // slot: which of the tokens tried; -1 where none is added
    Meaning meaning;      // of its token: what its automata and words gain, and where it then is in the lexicon
};

inline float log_add(float a, float b) {
    const float high = a > b ? a : b, low = a > b ? b : a;
    return low == NEVER ? high : high + log1pf(expf(low - high));
}

// The log-probability of a symbol given that it is not the blank.
inline float without_blank(float log_prob, float blank) {
    const float sure = log_prob - logf(-expm1f(blank));
    return sure > 0 ? 0 : sure;
}

// The `count` highest of x (n,), falling, and where they are; as many as are found.
inline int64_t highest(const float *x, int64_t n, int64_t count, float *values, int64_t *places) {
    const int64_t BLOCK = 16;
    int64_t found = 0;
    for (int64_t start = 0; start < n; start += BLOCK) {
        const int64_t end = min_of(n, start + BLOCK);
        if (found == count && end - start == BLOCK) { // most blocks have none of them
            float top = NEVER;
#pragma omp simd reduction(max : top)
            for (int64_t i = 0; i < BLOCK; ++i) top = x[start + i] > top ? x[start + i] : top;
            if (!(top > values[count - 1])) continue;
        }
        for (int64_t i = start; i < end; ++i) {
            if (found == count && !(x[i] > values[count - 1])) continue;
            int64_t to = found < count ? found++ : count - 1;
            for (; to > 0 && x[i] > values[to - 1]; --to) values[to] = values[to - 1], places[to] = places[to - 1];
            values[to] = x[i], places[to] = i;
        }
    }
    return found;
}

// What a row needs while it is searched, in one piece of memory.
struct Work {
    char *memory;
    float *best, *stay, *plain, *arriving;
    int64_t *tokens, *found, *reached, *from, *children, *kids;
    Pick *picks;
    float *score, *bonus, *blank, *symbol, *log_probs;
    int64_t *states, *last, *hash, *parent, *node, *lm, *last_word, *ids, *frames, *words, *length;
    int64_t picked;

    explicit Work(const Call &c) : memory((char *)malloc(place(c, 0))), picked(0) {
        if (memory) place(c, (uintptr_t)memory);
    }
    ~Work() { free(memory); }
    Work(const Work &) = delete;

  private:
    template <class T> void take(T *&to, uintptr_t &at, int64_t count) {
        to = (T *)at;
        at += (count * sizeof(T) + 15) / 16 * 16;
    }

    int64_t place(const Call &c, const uintptr_t begin) {
        const int64_t K = c.beam, N = c.tried, W = c.window, F = c.columns;
        uintptr_t at = begin;
        take(best, at, K * N), take(tokens, at, K * N), take(found, at, K);
        take(reached, at, K * N * F);
        take(stay, at, K), take(plain, at, K), take(arriving, at, K), take(from, at, K);
        take(children, at, K), take(kids, at, K * K), take(picks, at, K);
        take(score, at, K), take(bonus, at, K), take(blank, at, K), take(symbol, at, K), take(states, at, K * F);
        take(last, at, K), take(hash, at, K), take(parent, at, K);
        take(ids, at, K * W), take(frames, at, K * W), take(log_probs, at, K * W), take(length, at, K);
        const int64_t words = c.lexicon ? K : 0;
        take(node, at, words), take(lm, at, words), take(last_word, at, words), take(this->words, at, words * W);
        return at - begin;
    }
};

} // namespace
