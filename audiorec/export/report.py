"""What exports of one model are worth: their size, and on a data directory their words and speed, side by side."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from audiorec import runtime
from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.evaluation import Score, differences, score
from audiorec.evaluation.decode import in_pieces
from audiorec.progress import progress

PIECE_MS = 160.0


@dataclass
class Measured:
    """An export: bytes of its folder; of a data directory its words, by utterance, seconds of work a second of audio, and where
    there are references the score. ``changed`` says in which utterances words differ from the first export's."""

    name: str
    size: int
    ratio: float
    texts: dict[str, str] = field(default_factory=dict)
    factor: float | None = None
    score: Score | None = None
    changed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.size / 1e6:.2f} MB" + (f" ({self.ratio:.3f})" if self.ratio != 1 else "")]
        if self.score:
            parts.append(f"WER {100 * self.score.wer:.2f} %")
        if self.factor is not None:
            parts.append(f"real-time factor {self.factor:.4f} in pieces of {PIECE_MS:g} ms, one thread")
            if self.ratio != 1:
                parts.append(f"words of {len(self.changed)} of {len(self.texts)} utterances changed")
        return ", ".join(parts)


def measure(folders: Mapping[str, Path], data: Path | str | None = None) -> list[Measured]:
    """Exports by their names; each utterance of ``data`` is streamed through one after another. Raises UserError naming the
    utterance or file that cannot be read."""
    sizes = {name: sum(file.stat().st_size for file in folder.iterdir()) for name, folder in folders.items()}
    whole = next(iter(sizes.values()))
    found = [Measured(name, size, size / whole) for name, size in sizes.items()]
    if data is None:
        return found
    utterances = read_data_dir(data, require_text=False)
    recognizers = [runtime.load(folder) for folder in folders.values()]
    recordings, seconds, spent = Recordings(), 0.0, [0.0] * len(found)
    with progress("comparing", len(utterances)) as advance:
        for utterance in utterances:
            samples = recordings.samples(utterance, recognizers[0].sample_rate)
            seconds += len(samples) / recognizers[0].sample_rate
            for i, recognizer in enumerate(recognizers):
                start = time.perf_counter()
                found[i].texts[utterance.id] = in_pieces(recognizer.stream(), samples, PIECE_MS).text
                spent[i] += time.perf_counter() - start
            advance(1)
    normalize = recognizers[0].normalize
    references = {utterance.id: normalize(utterance.text) for utterance in utterances}
    for one, taken in zip(found, spent, strict=True):
        one.factor = taken / seconds
        one.score = score(references, one.texts) if any(references.values()) else None
        one.changed = differences(found[0].texts, one.texts)
    return found
