"""Errors as Kaldi's compute-wer counts and prints them, of texts as they are given."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from audiorec.errors import UserError
from audiorec.evaluation.wer import paired


class KaldiScore(NamedTuple):
    """Sums over all utterances; an utterance is wrong where any of its words is."""

    words: int
    insertions: int
    deletions: int
    substitutions: int
    utterances: int
    wrong: int

    def __str__(self) -> str:
        errors = self.insertions + self.deletions + self.substitutions
        return (
            f"%WER {100 * errors / self.words:.2f} [ {errors} / {self.words}, {self.insertions} ins, "
            f"{self.deletions} del, {self.substitutions} sub ]\n"
            f"%SER {100 * self.wrong / self.utterances:.2f} [ {self.wrong} / {self.utterances} ]"
        )


def kaldi_score(ref: Mapping[str, str], hyp: Mapping[str, str]) -> KaldiScore:
    """Score hypotheses against references, both utterance id → text.

    Raises UserError when the two do not hold the same utterances, or the references hold no word.
    """
    said, heard = ([text.split() for text in texts] for texts in paired(ref, hyp))
    if not any(said):
        raise UserError(f"the references of all {len(said)} utterances are empty: no word error rate exists")
    edits = [_edits(a, b) for a, b in zip(said, heard, strict=True) if a != b]
    insertions, deletions, substitutions = (sum(column) for column in zip(*edits, strict=True)) if edits else (0, 0, 0)
    return KaldiScore(sum(map(len, said)), insertions, deletions, substitutions, len(said), len(edits))


def _edits(said: Sequence[str], heard: Sequence[str]) -> tuple[int, int, int]:
    """Insertions, deletions, substitutions. Of ways as short Kaldi takes an insertion before a deletion, and either before a
    substitution or a right word."""
    before = [
        (i, 0, i, 0) for i in range(len(said) + 1)
    ]  # errors, and the three sorts of them, for each beginning of `said`
    for word in heard:
        errors, *sorts = before[0]
        row = [(errors + 1, sorts[0] + 1, sorts[1], sorts[2])]
        for i, right in enumerate(said):
            diagonal, above, left = before[i], before[i + 1], row[i]
            wrong = word != right
            if diagonal[0] + wrong < min(above[0], left[0]) + 1:
                row.append((diagonal[0] + wrong, diagonal[1], diagonal[2], diagonal[3] + wrong))
            elif left[0] < above[0]:
                row.append((left[0] + 1, left[1], left[2] + 1, left[3]))
            else:
                row.append((above[0] + 1, above[1] + 1, above[2], above[3]))
        before = row
    return before[-1][1:]
