"""The runtime's beams give what torch's give, in any split: tokens, words, times, n-best lists, segments."""

import random

import numpy as np
import pytest
import torch
from audiorec_kernels.native import ABSENT, LIBRARY

from audiorec.live import Engine
from audiorec.runtime import load
from audiorec.runtime.beam import CtcBeamSearch, TransducerBeamSearch
from audiorec.runtime.state import put, take
from audiorec.search import CtcBeamSearch as TorchCtcBeamSearch
from audiorec.search import SearchConfig, build_words
from audiorec.streaming import leaves
from audiorec.text import load_tokenizer
from audiorec.text.phone import LEXICON
from audiorec.text.table import SPECIALS
from audiorec.transcript import EndpointConfig, Hypothesis
from audiorec.transcript.reading import read
from tests.runtime.handmade import frames_of, make
from tests.runtime.test_search import networks_in_numpy
from tests.search.searches import DIM, VOCABULARY, beam, ctc, sets, words

pytestmark = pytest.mark.skipif(LIBRARY is None, reason=ABSENT)

LENGTHS = [60, 41, 33, 8, 1, 0]
CTC, LSTM, STATELESS = (TorchCtcBeamSearch, DIM), ("lstm", VOCABULARY), ("stateless", VOCABULARY)
PRIORS = torch.linspace(0, -2, DIM)
CASES = {
    "ctc": (CTC, {}),
    "ctc, beam of one": (CTC, {"beam": 1}),
    "ctc, less of its priors": (CTC, {"beam": 6, "priors": True}),
    "ctc, little room": (CTC, {"beam": 6, "window": 3}),
    "ctc, none far below": (CTC, {"beam": 6, "threshold": 3.0}),
    "ctc, words": (CTC, {"beam": 6, "words": words(DIM)}),
    "ctc, words, little room": (CTC, {"beam": 3, "window": 5, "words": words(DIM)}),
    "transducer": (STATELESS, {}),
    "transducer, lstm predictor, little room": (LSTM, {"beam": 6, "window": 3}),
    "transducer, none far below": (LSTM, {"beam": 6, "threshold": 3.0}),
    "transducer, words": (LSTM, {"beam": 6, "words": words(VOCABULARY)}),
    "transducer, less of its internal language model": (LSTM, {"ilm_weight": 0.5}),
}


def flat(x: torch.Tensor) -> torch.Tensor:
    return (ctc(x) - PRIORS).log_softmax(-1)


def torchs(name: str, **more):
    """Torch's search of a case."""
    (kind, _), options = CASES[name]
    if kind is not TorchCtcBeamSearch:
        return beam(kind, **options, **more)
    options = dict(options)
    head = flat if options.pop("priors", False) else ctc
    return kind(head, **options, **more)


def in_numpy(name: str, automata, columns: int):
    """The runtime's search of a case, and what makes its frames of torch's."""
    (kind, symbols), options = CASES[name]
    shared = (
        options.get("beam", 4),
        options.get("window", 64),
        automata,
        columns,
        symbols,
        options.get("words"),
        options.get("threshold"),
    )
    if kind is TorchCtcBeamSearch:
        priors = PRIORS.numpy() if options.get("priors") else None
        return CtcBeamSearch(*shared, priors=priors), lambda x: ctc(torch.from_numpy(x)).numpy()
    *parts, frames = networks_in_numpy(torchs(name))
    return TransducerBeamSearch(*parts, *shared, ilm_weight=options.get("ilm_weight", 0.0)), frames


def utterances() -> list[np.ndarray]:
    generator = torch.Generator().manual_seed(1)
    return [(2 * torch.randn(length, DIM, generator=generator)).numpy() for length in LENGTHS]


def said(hypotheses: list[Hypothesis]) -> list[tuple]:
    return [(one.ids, one.frames, one.words) for one in hypotheses]


def wanted(search, row: np.ndarray, cut: int) -> tuple[Hypothesis, list[Hypothesis], float]:
    """What torch's search says of a row that has a segment's end after ``cut`` frames, and the n-best list of its end."""
    x = torch.from_numpy(row)[None]
    heard, state = Hypothesis(), search.initial_state(1)
    for i, piece in enumerate(x.tensor_split([cut], 1)):
        tokens, state = search.step(piece, None, state)
        heard = heard + tokens.hypothesis(0)
        if i == 0 and 0 < cut < len(row):
            tokens, state = search.commit(state)
            heard = heard + tokens.hypothesis(0)
    return heard, search.hypotheses(state, 0), float(state["margin"])


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("base", [0, 1], ids=["none for all", "an n-gram and hotwords for all"])
@pytest.mark.parametrize("name", CASES)
def test_rows_that_come_and_go_say_what_torch_says(name, base, seed):
    draw, brought = random.Random(seed), sets(CASES[name][0][1])
    search, frames = in_numpy(name, brought[base], 2)
    rows = utterances()
    own = [draw.choice([None, *brought]) for _ in rows]
    owners = [0 if automata is None else search.add(automata) for automata in own]
    state = search.initial_state(len(rows), owners)
    shapes = {leaf: (array.shape, array.dtype) for leaf, array in state.items()}
    cuts = [draw.randint(1, max(1, n)) for n in LENGTHS]
    at, heard = [0] * len(rows), [Hypothesis() for _ in rows]
    while any(a < n for a, n in zip(at, LENGTHS, strict=True)):
        size = draw.choice([1, 2, 9])
        counts = [
            min(draw.randint(0, size), (cut if a < cut else n) - a if n else 0)
            for a, n, cut in zip(at, LENGTHS, cuts, strict=True)
        ]
        x = np.full((len(rows), size, DIM), np.nan, np.float32)
        for i, count in enumerate(counts):
            x[i, :count] = rows[i][at[i] : at[i] + count]
        before = {leaf: array.copy() for leaf, array in state.items()}
        tokens, after = search.step(frames(x), np.array(counts), state)
        assert all(np.array_equal(before[leaf], state[leaf]) for leaf in state), "step wrote into its state"
        state = after
        assert {leaf: (array.shape, array.dtype) for leaf, array in state.items()} == shapes
        for i, count in enumerate(counts):
            heard[i].extend(tokens[i])
            at[i] += count
            if count and at[i] == cuts[i] < LENGTHS[i]:
                (more,), part = search.commit(take(state, [i]))
                heard[i].extend(more)
                state = put(state, [i], part)
    for i, row in enumerate(rows):
        automata = brought[base] if own[i] is None else own[i]
        first, best, margin = wanted(torchs(name, automata=automata), row, cuts[i] if len(row) else 0)
        assert said([heard[i]]) == said([first]), i
        found = search.hypotheses(state, i)
        assert said(found) == said(best)
        np.testing.assert_allclose([one.score for one in found], [one.score for one in best], atol=1e-3)
        np.testing.assert_allclose(heard[i].log_probs, first.log_probs, atol=1e-4)
        np.testing.assert_allclose(state["margin"][i], margin, atol=1e-3)
        assert said(search.partial(take(state, [i])))[0][0] in [one.ids for one in found]


@pytest.mark.parametrize("name", ["ctc, words", "transducer, words"])
def test_its_state_is_torchs(name):
    brought = sets(CASES[name][0][1])[1]
    state = in_numpy(name, brought, 2)[0].initial_state(3)
    torch_state = dict(leaves(torchs(name, columns=2, automata=brought).initial_state(3)))
    assert state.keys() == torch_state.keys()
    for leaf, array in state.items():
        assert array.dtype == torch_state[leaf].numpy().dtype, leaf
        np.testing.assert_allclose(array, torch_state[leaf].numpy(), atol=1e-6, err_msg=leaf)


HOTWORDS = {"kind": "beam", "beam": 6, "hotwords": ["one two", "nine"], "hotwords_score": 4.0}


def test_a_stream_has_the_words_of_the_whole_and_hotwords_help(speech, tmp_path):
    folder, samples = make(tmp_path / "made"), speech[:24000]
    plain, helped = (load(folder, search=search) for search in ({"kind": "beam", "beam": 6}, HOTWORDS))
    count = [recognizer.transcribe(samples).text.split().count("nine") for recognizer in (plain, helped)]
    assert count[1] > count[0]
    for recognizer in (plain, helped):
        for endpoint in (EndpointConfig(), EndpointConfig(silence=0.1, silence_after_words=0.03, longest=0.4)):
            recognizer.endpoint = endpoint
            whole, draw = recognizer.transcribe(samples), random.Random(0)
            assert len(whole.segments) > 1 or endpoint == EndpointConfig()
            stream, at = recognizer.stream(), 0
            while at < len(samples):
                size = draw.choice([1, 50, 333, 5000])
                stream.accept(samples[at : at + size])
                assert stream.partial().text is not None
                at += size
            result = stream.finish()
            assert result.segments == whole.segments


def test_sessions_have_hotwords_of_their_own(speech, tmp_path):
    folder = make(tmp_path / "made")
    plain, helped = (load(folder, search=search) for search in ({"kind": "beam", "beam": 6}, HOTWORDS))
    own = {key: value for key, value in HOTWORDS.items() if "hotwords" in key}
    clips = [speech[i * 3000 :][: 4000 + 500 * i] for i in range(6)]
    with Engine(plain, slots=3) as engine:
        for first in (0, 3):
            sessions = [engine.session(search=own if i % 2 else None) for i in range(first, first + 3)]
            for session, clip in zip(sessions, clips[first:], strict=False):
                session.accept(clip)
            for i, session in enumerate(sessions, first):
                assert session.finish().text == (helped if i % 2 else plain).transcribe(clips[i]).text
    stream = plain.stream(search=own)
    stream.accept(clips[0])
    assert stream.finish().text == helped.transcribe(clips[0]).text


PRONUNCIATIONS = "ana A N A\nana A N\nbo B O\ntea T I\ntee T I\nkes K E S\nap A P\n!SIL O\n"


def test_a_model_of_phones_says_the_words_of_its_search(speech, tmp_path):
    folder, samples = make(tmp_path / "made"), speech[:24000]
    (folder / "tokens.txt").unlink()
    (folder / "phones.txt").write_text("".join(f"{one} {i}\n" for i, one in enumerate([*SPECIALS, *"ABEIKNOPST"])))
    lexicon = folder / LEXICON
    lexicon.write_text(PRONUNCIATIONS)
    settings = {"kind": "beam", "beam": 6, "lexicon": lexicon, "word_bonus": 1.0}
    recognizer = load(folder, search=settings, endpoint=None)
    tokenizer = load_tokenizer(folder)
    search = TorchCtcBeamSearch(
        lambda x: x, 6, words=build_words(SearchConfig(**settings), tokenizer, recognizer.normalize)
    )
    tokens, state = search.step(torch.from_numpy(frames_of("ctc", samples)), None, search.initial_state(1))
    wanted = [word.text for word in read(tokenizer, tokens.hypothesis(0) + search.flush(state).hypothesis(0))]
    found = recognizer.transcribe(samples).text.split()
    assert found == wanted and len(set(found)) > 2 and set(found) <= {"ana", "bo", "tea", "tee", "kes", "ap"}
