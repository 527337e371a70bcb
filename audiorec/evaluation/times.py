"""Word times: how late a model emits its words, and how far its times are from a reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from audiorec.audio.levels import Levels
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.data.select import evenly
from audiorec.errors import UserError
from audiorec.evaluation.ctm import TimedWord
from audiorec.evaluation.decode import batches
from audiorec.text import Normalizer
from audiorec.transcript import Delay
from audiorec.transcript.times import TAIL

if TYPE_CHECKING:
    from audiorec.recognizer import Recognizer

UTTERANCES = 300  # that are measured, at most
FEWEST = 10  # begins, or ends, that tell a delay
EDGE = 0.05  # seconds of silence that an utterance begins and ends with, if it tells anything
OUTLIERS = 5  # per cent on either side that the lowest and the highest leave out


def measure_delay(
    recognizer: "Recognizer", data: Path | str, normalize: Normalizer, allow_pipes: bool = False
) -> Delay | None:
    """How late the model emits words, by the first and the last word of utterances of ``data``.

    Before the first word and after the last there is silence, so that the level of the audio tells where the one begins and the
    other ends, whatever the corpus. After the last sample the model hears silence, in which late words come. None where too few
    utterances begin or end with silence and the right word.
    """
    chosen = evenly([u for u in read_data_dir(data, allow_pipes=allow_pipes) if u.text], UTTERANCES)
    expected = recognizer.tokenizer.expected
    texts = {u.id: expected(normalize(u.text)).split() for u in chosen}
    begins, ends, silence = [], [], np.zeros(round(TAIL * recognizer.sample_rate), np.float32)
    for names, samples in batches(chosen, Recordings(), recognizer.sample_rate):
        results = recognizer.transcribe_batch([np.concatenate([audio, silence]) for audio in samples])
        for name, audio, result in zip(names, samples, results, strict=True):
            levels, said = Levels(recognizer.sample_rate, audio), result.text.split()
            begin, end = levels.sound()
            if begin >= EDGE and said[:1] == texts[name][:1]:
                begins.append(begin - result.tokens[0].start)
            if end <= levels.seconds - EDGE and said[-1:] == texts[name][-1:]:
                ends.append(end - result.tokens[-1].end)
    if min(len(begins), len(ends)) < FEWEST:
        return None
    cuts = [OUTLIERS, 50, 100 - OUTLIERS]
    begin, end = ([round(float(x), 3) for x in np.percentile(row, cuts)] for row in (begins, ends))
    tail = min(max(0.0, -round(min(ends), 3)), TAIL)
    return Delay(begin=begin, end=end, tail=tail, words=min(len(begins), len(ends)))


class TimeErrors(NamedTuple):
    """Absolute errors of begins and ends in seconds, over ``words`` of ``utterances`` of the ``total``."""

    utterances: int
    total: int
    words: int
    begin_mean: float
    begin_median: float
    end_mean: float
    end_median: float


def time_errors(reference: Mapping[str, Sequence[TimedWord]], given: Mapping[str, Sequence[TimedWord]]) -> TimeErrors:
    """How far the times in ``given`` are from the reference's, both utterance → words, where all words of the utterance agree.

    Raises UserError where no utterance agrees.
    """
    pairs = [
        list(zip(words, given[name], strict=True))
        for name, words in reference.items()
        if [word.text for word in words] == [word.text for word in given.get(name, ())]
    ]
    begins = [abs(b.begin - a.begin) for row in pairs for a, b in row]
    ends = [abs(b.end - a.end) for row in pairs for a, b in row]
    if not begins:
        raise UserError("no utterance has the words of the reference")
    figures = mean(begins), median(begins), mean(ends), median(ends)
    return TimeErrors(len(pairs), len(reference), len(begins), *figures)
