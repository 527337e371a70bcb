"""The lexicon beam beside flashlight-text's decoder, which torchaudio carries: wide beams, the same words and scores.

flashlight adds up all ways to say the same words: several pronunciations, with and without silence between. Our hypotheses are
those ways, so theirs is the sum over ours of one text. Its lexicon needs a token after each word ("|", silence), since a word's
last token cannot last longer there.
"""

from collections import defaultdict

import numpy as np
import pytest
import torch

from audiorec.search import CtcBeamSearch
from audiorec.search.lexicon import Entry, Lexicon
from audiorec.search.words import Words
from tests.search.searches import automata, ctc

flashlight = pytest.importorskip("flashlight.lib.text.decoder", reason="needs flashlight-text")

SIL, TOKENS, TIME, ROWS = 1, 6, 7, 50
NAMES = ["a", "b", "c", "d", "e", ""]  # of homophones, of several pronunciations, of silence
ENTRIES = [(1, (2, 3, 1)), (2, (2, 3, 1)), (3, (2, 1)), (3, (4, 1)), (4, (3, 3, 1)), (5, (5, 2, 1)), (6, (1,))]


class Bigram(flashlight.LM):
    """An automaton, its state one for each history, so that no two sequences of words merge."""

    def __init__(self, automaton):
        super().__init__()
        self.automaton, self.states = automaton, {}

    def start(self, start_with_nothing):
        state = flashlight.LMState()
        self.states[state] = torch.tensor(self.automaton.start)
        return state

    def score(self, state, word):
        after = state.child(word)
        weight, self.states[after] = self.automaton.step(self.states[state], torch.tensor(word))
        return after, float(weight)

    def finish(self, state):
        return state, float(self.automaton.final[self.states[state]])


@pytest.mark.slow
def test_flashlight_says_the_same_words_at_wide_beams():
    bigram, _ = automata(len(NAMES) + 1)
    tree = Lexicon.of(NAMES, [Entry(word, tokens) for word, tokens in ENTRIES], TOKENS)
    ours = CtcBeamSearch(ctc, beam=400, words=Words(tree, bigram))
    torch.manual_seed(0)
    x = (3 * torch.randn(ROWS, TIME, TOKENS)).log_softmax(-1)
    _, state = ours.step(x, None, ours.initial_state(ROWS))

    trie = flashlight.Trie(TOKENS + 1, SIL)
    for word, tokens in ENTRIES[:-1]:
        trie.insert(list(tokens), word - 1, float(bigram.weights[word - 1]))
    trie.smear(flashlight.SmearingMode.MAX)
    options = flashlight.LexiconDecoderOptions(
        2000, TOKENS, 1e4, 1.0, 0.0, -np.inf, 0.0, True, flashlight.CriterionType.CTC
    )
    lm = Bigram(bigram)  # which the decoder does not keep alive
    theirs = flashlight.LexiconDecoder(options, trie, lm, SIL, 0, len(NAMES) + 1, [], False)
    same = 0
    for row in range(ROWS):
        sums: dict[tuple, list[float]] = defaultdict(list)
        for one in ours.hypotheses(state, row):
            sums[tuple(word for word in one.words if word)].append(one.score)
        totals = {words: float(torch.tensor(scores).logsumexp(0)) for words, scores in sums.items()}
        frames = np.ascontiguousarray(x[row].numpy())
        found = theirs.decode(frames.ctypes.data, TIME, TOKENS)
        spoken = {tuple(NAMES[word] for word in one.words if word >= 0): one.score for one in found}
        best = max(totals, key=totals.get)
        assert best == max(spoken, key=spoken.get)
        near = [words for words in totals if totals[words] > totals[best] - 4]
        assert {w: totals[w] - totals[best] for w in near} == pytest.approx(
            {w: spoken[w] - spoken[best] for w in near}, abs=0.01
        )
        same += len(near)
    assert same > 2 * ROWS
