"""What a data directory holds: hours, speakers, lengths, characters, texts that come twice, sample rates."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from audiorec.data.utterance import Utterance

SHOWN = 5
POINTS = (0, 5, 50, 95, 100)  # percentiles


@dataclass
class Statistics:
    """``seconds`` and ``characters`` are percentiles (least, 5th, median, 95th, most) of utterances; ``doubles`` counts the texts
    of several utterances; ``rates`` counts recordings by hertz and channels."""

    utterances: int
    recordings: int
    hours: float
    speakers: dict[str, float]
    seconds: list[float]
    characters: list[float]
    words: int
    vocabulary: int
    alphabet: dict[str, int]
    doubles: dict[str, int]
    rates: dict[tuple[int, int], int]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        least, low, middle, high, most = self.seconds
        yield f"utterances   {self.utterances} of {self.recordings} recordings, {self.hours:.2f} hours"
        yield f"seconds      {least:.2f} to {most:.2f}, median {middle:.2f}, nine of ten from {low:.2f} to {high:.2f}"
        ordered = sorted(self.speakers.values())
        minutes = f"{ordered[0] / 60:.1f} to {ordered[-1] / 60:.1f} minutes each"
        yield f"speakers     {len(self.speakers)}, {minutes}"
        if self.words:
            least, low, middle, high, most = self.characters
            yield f"words        {self.words}, {self.vocabulary} different"
            yield f"characters   {least:.0f} to {most:.0f} an utterance, median {middle:.0f}"
            yield f"alphabet     {len(self.alphabet)}: " + " ".join(
                f"{'space' if char == ' ' else char} {count}" for char, count in self.alphabet.items()
            )
            share = sum(self.doubles.values())
            yield f"same texts   {share} utterances share {len(self.doubles)} texts" + "".join(
                f"\n             {count} × {text}" for text, count in list(self.doubles.items())[:SHOWN]
            )
        for (rate, channels), count in sorted(self.rates.items()):
            yield f"recordings   {count} of {rate} Hz, {channels} channel{'s' if channels > 1 else ''}"


def statistics(
    utterances: Iterable[Utterance], seconds: Mapping[str, float], formats: Iterable[tuple[int, int]] = ()
) -> Statistics:
    """``seconds`` are those of each utterance, ``formats`` hertz and channels of each recording."""
    utterances = list(utterances)
    speakers: dict[str, float] = {}
    letters: Counter[str] = Counter()
    vocabulary: Counter[str] = Counter()
    texts = Counter(utterance.text for utterance in utterances)
    for utterance in utterances:
        speakers[utterance.speaker] = speakers.get(utterance.speaker, 0.0) + seconds[utterance.id]
    for text, count in texts.items():
        for part, counter in ((text, letters), (text.split(), vocabulary)):
            for item, often in Counter(part).items():
                counter[item] += often * count
    return Statistics(
        utterances=len(utterances),
        recordings=len({utterance.recording for utterance in utterances}),
        hours=sum(seconds[utterance.id] for utterance in utterances) / 3600,
        speakers=speakers,
        seconds=np.percentile([seconds[u.id] for u in utterances], POINTS).tolist(),
        characters=np.percentile([len(u.text) for u in utterances], POINTS).tolist(),
        words=sum(vocabulary.values()),
        vocabulary=len(vocabulary),
        alphabet=dict(letters.most_common()),
        doubles={text: count for text, count in texts.most_common() if count > 1 and text},
        rates=dict(Counter(formats)),
    )
