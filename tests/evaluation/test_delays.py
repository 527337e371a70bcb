"""The delays of streamed words, by a stand-in stream that shows what it is told to, and by a clock that is set by hand."""

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

from audiorec.evaluation.delays import Watch, measure, read_aligned

RATE = 1000


class Scripted:
    """A stream that shows the last of ``script``'s (samples heard, text); ``final`` at its end."""

    sample_rate = RATE

    def __init__(self, script, final):
        self.script, self.final, self.heard = script, final, 0

    def accept(self, samples):
        self.heard += len(samples)

    def wait(self):
        pass

    def partial(self):
        return SimpleNamespace(text=next((text for at, text in reversed(self.script) if at <= self.heard), ""))

    def finish(self):
        words = [
            SimpleNamespace(text=word, start=0.1 * i, end=0.1 * i + 0.1) for i, word in enumerate(self.final.split())
        ]
        return SimpleNamespace(text=self.final, words=words)


def listen(script, final, samples=1000, chunk_ms=100):
    ticks = count()
    watch = Watch(clock=lambda: next(ticks) / 4)
    return watch, watch.listen(Scripted(script, final), np.zeros(samples, np.float32), chunk_ms)


def test_each_word_is_late_by_what_was_heard_since_its_end():
    """ "two" is taken for "ten" at first, and "four" comes with the end alone."""
    script = [(200, "one"), (400, "one ten"), (600, "one two"), (800, "one two three")]
    watch, result = listen(script, "one two three four")
    assert watch.settled() == [0.2, 0.6, 0.8, 1.0]
    assert watch.changed() == 1
    spans = {"u": [("one", 0.05, 0.1), ("two", 0.2, 0.35), ("three", 0.4, 0.7), ("four", 0.8, 0.95)]}
    found = measure({"u": watch}, {"u": result}, 1.0, 0.5, ("words.ctm", spans))
    assert found["first_partial"]["median"] == pytest.approx(0.15)
    assert found["word_delays"] == pytest.approx([0.1, 0.25, 0.1, 0.05])
    assert found["word_delay"]["mean"] == pytest.approx(0.125)
    assert (found["changed"], found["real_time_factor"], found["timed"]) == (0.25, 0.5, 1)
    assert found["finalize"]["median"] == 0.25, "one tick of the clock"
    assert watch.work == pytest.approx(11 * 0.25), "ten pieces and the end; looking is not timed"


def test_a_word_that_comes_back_counts_from_when_it_stays():
    watch, _ = listen([(100, "a"), (300, "a b"), (500, "c b"), (700, "a b")], "a b")
    assert watch.settled() == [0.7, 0.7]
    assert watch.changed() == 4, "each change of the first word moves what follows it"


@pytest.mark.parametrize("script, final", [([], ""), ([(300, "a")], "")])
def test_a_stream_without_words_has_no_delay(script, final):
    watch, result = listen(script, final)
    found = measure({"u": watch}, {"u": result}, 1.0, 0.5, None)
    assert (found["word_delays"], found["word_delay"], found["first_partial"]) == ([], None, None)
    assert found["changed"] is None


def test_utterances_with_other_words_than_the_alignment_are_not_timed():
    watches, results = {}, {}
    for name in ("right", "wrong"):
        watches[name], results[name] = listen([(500, "one")], "one")
    spans = {"right": [("one", 0.1, 0.3)], "wrong": [("two", 0.1, 0.3)]}
    found = measure(watches, results, 2.0, 1.0, ("words.ctm", spans))
    assert (found["timed"], found["utterances"], found["word_delays"]) == (1, 2, [0.2])


def test_without_an_alignment_the_times_of_the_model_serve():
    watch, result = listen([(500, "one")], "one two")
    found = measure({"u": watch}, {"u": result}, 1.0, 0.5, None)
    assert found["aligned"] == "the model's own times" and found["word_delays"] == pytest.approx([0.4, 0.8])


def test_the_alignment_of_a_data_directory_is_found(tmp_path):
    assert read_aligned(tmp_path, None) is None
    (tmp_path / "words.ctm").write_text("u 1 0.50 0.25 one\n")
    assert read_aligned(tmp_path, None) == ("words.ctm", {"u": [("one", 0.5, 0.75)]})
