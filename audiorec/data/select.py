"""Parts of a data directory, as Kaldi's subset_data_dir.sh and split_data.sh make them, and directories put together."""

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from audiorec.data.draws import generator
from audiorec.data.tables import speakers_utterances
from audiorec.data.utterance import Utterance
from audiorec.errors import UserError


def first(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """The first ``count`` utterances. Raises UserError, as do the others, where there are not so many."""
    _enough(len(utterances), count, "utterances")
    return list(utterances[:count])


def evenly(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """``count`` utterances, or all where there are fewer, at even distances: of all speakers, whose utterances lie together."""
    return list(utterances[:: max(1, len(utterances) // max(1, count))][:count])


def drawn(utterances: Sequence[Utterance], count: int, seed: int) -> list[Utterance]:
    """``count`` utterances drawn at random, in their order."""
    _enough(len(utterances), count, "utterances")
    chosen = generator(seed, 0, "subset").choice(len(utterances), count, replace=False)
    return [utterances[i] for i in sorted(chosen)]


def per_speaker(utterances: Sequence[Utterance], count: int, seed: int | None = None) -> list[Utterance]:
    """At most ``count`` utterances of each speaker: the first, or with a ``seed`` drawn."""
    speakers: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        speakers.setdefault(utterance.speaker, []).append(utterance)
    kept = []
    for speaker, own in speakers.items():
        order: Iterable[int] = range(len(own))
        if seed is not None:
            order = generator(seed, 0, f"subset of {speaker}").permutation(len(own)).tolist()
        kept += [own[i] for i in list(order)[:count]]
    return sorted(kept, key=lambda utterance: utterance.id)


def of_speakers(utterances: Sequence[Utterance], speakers: Collection[str]) -> list[Utterance]:
    """All utterances of these speakers."""
    if absent := set(speakers) - {utterance.speaker for utterance in utterances}:
        raise UserError(f"no utterance is of speaker {min(absent)!r}" + _more(absent))
    return [utterance for utterance in utterances if utterance.speaker in set(speakers)]


def listed(utterances: Sequence[Utterance], names: Collection[str]) -> list[Utterance]:
    """The utterances of these names."""
    if absent := set(names) - {utterance.id for utterance in utterances}:
        raise UserError(f"no utterance is called {min(absent)!r}" + _more(absent))
    return [utterance for utterance in utterances if utterance.id in set(names)]


def split(utterances: Sequence[Utterance], parts: int, by_speaker: bool = True) -> list[list[Utterance]]:
    """``parts`` parts of like size, in order; with ``by_speaker`` all utterances of a speaker lie in one."""
    if not by_speaker:
        _enough(len(utterances), parts, "utterances")
        edges = [len(utterances) * i // parts for i in range(parts + 1)]
        return [list(utterances[start:end]) for start, end in pairwise(edges)]
    speakers = speakers_utterances((utterance.id, utterance.speaker) for utterance in utterances)
    _enough(len(speakers), parts, "speakers")
    sizes, home = [0] * parts, {}
    for speaker in sorted(
        speakers, key=lambda name: (-len(speakers[name]), name)
    ):  # the largest first, to the smallest part
        home[speaker] = sizes.index(min(sizes))
        sizes[home[speaker]] += len(speakers[speaker])
    return [[utterance for utterance in utterances if home[utterance.speaker] == part] for part in range(parts)]


def combine(sources: Iterable[Sequence[Utterance]]) -> list[Utterance]:
    """All utterances. Raises UserError for two of one name."""
    found: dict[str, Utterance] = {}
    for utterances in sources:
        for utterance in utterances:
            if utterance.id in found:
                raise UserError(f"utterance {utterance.id!r} is in two of the folders: give one of them a prefix")
            found[utterance.id] = utterance
    return sorted(found.values(), key=lambda utterance: utterance.id)


def _enough(have: int, wanted: int, what: str) -> None:
    if not 0 < wanted <= have:
        raise UserError(f"{wanted} wanted of {have} {what}")


def _more(names: Collection[str]) -> str:
    return f", nor of {len(names) - 1} more" if len(names) > 1 else ""
