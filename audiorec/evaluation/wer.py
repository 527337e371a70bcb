"""Word error rate with its uncertainty, alignments a person can read, and the utterances on which two decodings differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from audiorec.errors import UserError

if TYPE_CHECKING:
    from jiwer import CharacterOutput, WordOutput

RESAMPLES = 2000
PAIRED_RESAMPLES = 10_000
Group = TypeVar("Group", str, int, tuple[int, str])  # they are sorted


@dataclass(frozen=True)
class Score:
    """Errors of a test set. Rates are fractions of the reference: 0.05 is 5 %; with many insertions they are above 1."""

    utterances: int
    words: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float
    cer: float
    sentence_error_rate: float
    interval: tuple[float, float]
    """95 % confidence interval of the word error rate"""

    def __str__(self) -> str:
        errors = self.substitutions + self.deletions + self.insertions
        low, high = (f"{100 * bound:.2f}" for bound in self.interval)
        return (
            f"WER {100 * self.wer:.2f} % [{low}, {high}] ({errors} errors in {self.words} words: "
            f"{self.substitutions} sub, {self.deletions} del, {self.insertions} ins), CER {100 * self.cer:.2f} %, "
            f"{100 * self.sentence_error_rate:.2f} % of {self.utterances} utterances wrong"
        )


def score(ref: dict[str, str], hyp: dict[str, str]) -> Score:
    """Score hypotheses against references, both utterance id → text.

    Raises UserError when the two do not hold the same utterances, or the references hold no word.
    """
    from jiwer import process_characters, process_words

    references, hypotheses = paired(ref, hyp)
    words = _edits(process_words(references, hypotheses))
    characters = _edits(process_characters(references, hypotheses))
    count, substitutions, deletions, insertions = (int(total) for total in words.sum(axis=0))
    if count == 0:
        raise UserError(f"the references of all {len(references)} utterances are empty: no word error rate exists")
    errors = words[:, 1:].sum(axis=1)
    return Score(
        utterances=len(references),
        words=count,
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        wer=int(errors.sum()) / count,
        cer=int(characters[:, 1:].sum()) / int(characters[:, 0].sum()),
        sentence_error_rate=float((errors > 0).mean()),
        interval=confidence_interval(errors, words[:, 0]),
    )


def errors_and_words(ref: dict[str, str], hyp: dict[str, str]) -> np.ndarray:
    """(utterances, 2), in the order of ``ref``: errors, and words of the reference. Raises UserError as ``score`` does."""
    from jiwer import process_words

    edits = _edits(process_words(*paired(ref, hyp)))
    return np.stack([edits[:, 1:].sum(axis=1), edits[:, 0]], axis=1)


def grouped(counts: np.ndarray, groups: Sequence[Group]) -> dict[Group, dict[str, float]]:
    """Group → its word error rate, words and utterances; ``counts`` of ``errors_and_words``, the group of each row."""
    sums: dict[Group, np.ndarray] = {}
    for (errors, words), group in zip(counts, groups, strict=True):
        sums[group] = sums.get(group, np.zeros(3, np.int64)) + np.array([errors, words, 1])
    return {
        group: {"wer": int(e) / int(w), "words": int(w), "utterances": int(n)}
        for group, (e, w, n) in sorted(sums.items())
        if w
    }


def oracle(ref: dict[str, str], nbest: dict[str, list[str]]) -> float:
    """The word error rate of the best text of each utterance's list. Raises UserError as ``score`` does."""
    depth = max((len(texts) for texts in nbest.values()), default=0)
    ranks = ({name: texts[min(i, len(texts) - 1)] for name, texts in nbest.items()} for i in range(max(1, depth)))
    counts = np.stack([errors_and_words(ref, texts) for texts in ranks])
    return int(counts[:, :, 0].min(axis=0).sum()) / int(counts[0, :, 1].sum())


class Comparison(NamedTuple):
    """``difference`` of two word error rates, its 95 % ``interval``, and ``p``, two-sided, that there is none."""

    difference: float
    interval: tuple[float, float]
    p: float


def compare(ref: dict[str, str], a: dict[str, str], b: dict[str, str]) -> Comparison:
    """WER of ``a`` minus that of ``b`` on the same utterances: matched-pairs bootstrap (Bisani and Ney, 2004).

    Utterances are drawn with replacement, both systems' errors together. Raises UserError as ``score`` does.
    """
    first, second = errors_and_words(ref, a), errors_and_words(ref, b)
    rows = np.stack([first[:, 0] - second[:, 0], first[:, 1]], axis=1)
    if not rows[:, 1].sum():
        raise UserError(f"the references of all {len(rows)} utterances are empty: no word error rate exists")
    pairs, counts = np.unique(rows, axis=0, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(rows), counts / len(rows), size=PAIRED_RESAMPLES) @ pairs
    draws = draws[draws[:, 1] > 0]
    rates = draws[:, 0] / draws[:, 1]
    low, high = np.percentile(rates, [2.5, 97.5])
    tail = min((rates <= 0).sum(), (rates >= 0).sum())
    p = min(1.0, 2 * (int(tail) + 1) / (len(rates) + 1))
    return Comparison(int(rows[:, 0].sum()) / int(rows[:, 1].sum()), (float(low), float(high)), p)


def confidence_interval(errors: np.ndarray, words: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap (percentile) interval of sum(errors) / sum(words), utterances drawn with replacement.

    Both (utterances,), integers. The same counts in any order give the same interval.
    """
    # To draw utterances is to draw the count of each distinct (errors, words) pair: same distribution, fewer numbers.
    pairs, counts = np.unique(np.stack([errors, words], axis=1), axis=0, return_counts=True)
    draws = np.random.default_rng(0).multinomial(len(errors), counts / len(errors), size=RESAMPLES)
    resampled = draws @ pairs
    resampled = resampled[resampled[:, 1] > 0]
    low, high = np.percentile(resampled[:, 0] / resampled[:, 1], [2.5, 97.5])
    return float(low), float(high)


def alignments(ref: dict[str, str], hyp: dict[str, str], worst_first: bool = False) -> Iterator[str]:
    """One block of lines an utterance: its id and error count, then REF, HYP and the operations (S, D, I) below them.

    In the order of ``ref``, or the most errors first. Raises UserError as ``score`` does.
    """
    from jiwer import process_words, visualize_alignment

    references, hypotheses = paired(ref, hyp)
    blocks = []
    for utterance, reference, hypothesis in zip(ref, references, hypotheses, strict=True):
        output = process_words(reference, hypothesis)
        errors = output.substitutions + output.deletions + output.insertions
        _, _, picture = visualize_alignment(output, show_measures=False, skip_correct=False).partition("\n\n")
        lines = [line.rstrip() for line in picture.rstrip().splitlines()]
        blocks.append((errors, "\n".join([f"{utterance}: {errors} errors in {len(reference.split())} words", *lines])))
    if worst_first:
        blocks.sort(key=lambda block: -block[0])
    return (block for _, block in blocks)


def differences(a: dict[str, str], b: dict[str, str]) -> list[str]:
    """The ids of the utterances whose words differ, in the order of ``a``. Raises UserError as ``score`` does."""
    first, second = paired(a, b)
    return [utterance for utterance, one, other in zip(a, first, second, strict=True) if one != other]


def read_text(path: Path | str) -> dict[str, str]:
    """A Kaldi ``text`` file, lines ``utterance words…`` (no words: an empty text). Raises UserError naming the line."""
    path = Path(path)
    texts: dict[str, str] = {}
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        try:
            utterance, *words = line.decode().split()
        except UnicodeDecodeError:
            raise UserError(f"{path}: line {number}: not UTF-8; convert the file") from None
        except ValueError:
            raise UserError(f"{path}: line {number}: empty; expected an utterance id, then its words") from None
        if utterance in texts:
            raise UserError(f"{path}: line {number}: utterance {utterance} stands twice; keep one")
        texts[utterance] = " ".join(words)
    return texts


def read_nbest(path: Path | str) -> dict[str, list[str]]:
    """Utterance → its texts, best first, of a file ``utterance-rank words``. Raises UserError naming a line without a rank."""
    found: dict[str, list[str]] = {}
    for key, text in read_text(path).items():
        utterance, _, rank = key.rpartition("-")
        if not utterance or not rank.isdigit():
            raise UserError(f"{path}: {key}: expected `utterance-rank words`")
        found.setdefault(utterance, []).append(text)
    return found


def paired(a: dict[str, str], b: dict[str, str]) -> tuple[list[str], list[str]]:
    """Both texts of each utterance, in the order of ``a``, their words single-spaced."""
    faults = [
        f"{len(ids)} {fault} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for fault, ids in (
            ("without a hypothesis", [utterance for utterance in a if utterance not in b]),
            ("without a reference", [utterance for utterance in b if utterance not in a]),
        )
        if ids
    ]
    if faults:
        raise UserError(f"the two texts must hold the same utterances, but there are {' and '.join(faults)}")
    if not a:
        raise UserError("there are no utterances to compare")
    return [" ".join(text.split()) for text in a.values()], [" ".join(b[utterance].split()) for utterance in a]


def _edits(output: "WordOutput | CharacterOutput") -> np.ndarray:
    """(utterances, 4): length of the reference, substitutions, deletions, insertions."""
    columns = {"substitute": 1, "delete": 2, "insert": 3}
    counts = np.zeros((len(output.references), 4), dtype=np.int64)
    for row, reference, chunks in zip(counts, output.references, output.alignments, strict=True):
        row[0] = len(reference)
        for chunk in chunks:
            if chunk.type in columns:
                length = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
                row[columns[chunk.type]] += length
    return counts
