"""lhotse inside: utterances as cuts, and cuts in batches of like duration."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audiorec.audio.read import header, read
from audiorec.data.utterance import Pipe, Utterance, source
from audiorec.progress import progress

if TYPE_CHECKING:
    from lhotse import CutSet, Recording
    from lhotse.cut import Cut


def make_cuts(utterances: Iterable[Utterance]) -> dict[str, "Cut"]:
    """Utterance id → lhotse cut. Looks once at every recording for its rate and length."""
    from lhotse import MonoCut, SupervisionSegment

    utterances = list(utterances)
    paths = {utterance.path: utterance.recording for utterance in utterances}
    with progress("recordings examined", len(paths)) as advance:
        recordings = {}
        for path, name in paths.items():
            recordings[path] = _recording(path, name)
            advance(1)
    cuts = {}
    for utterance in utterances:
        recording = recordings[utterance.path]
        end = recording.duration if utterance.end is None else utterance.end
        supervision = SupervisionSegment(
            id=utterance.id,
            recording_id=recording.id,
            start=0.0,
            duration=end - utterance.start,
            text=utterance.text,
            speaker=utterance.speaker,
        )
        cuts[utterance.id] = MonoCut(
            id=utterance.id,
            start=utterance.start,
            duration=end - utterance.start,
            channel=0,
            recording=recording,
            supervisions=[supervision],
        )
    return cuts


def _recording(path: Path | Pipe, name: str) -> "Recording":
    from lhotse import Recording
    from lhotse.audio import AudioSource

    examined = header(source(path))
    frames = examined.frames if examined.frames is not None else len(read(source(path))[0])
    return Recording(
        id=name,
        sources=[AudioSource(type="file", channels=[0], source=str(path))],
        sampling_rate=examined.sample_rate,
        num_samples=frames,
        duration=frames / examined.sample_rate,
    )


def append_cuts(name: str, cuts: Sequence["Cut"]) -> "Cut":
    """One cut that plays these one after another."""
    whole = cuts[0]
    for cut in cuts[1:]:
        whole = whole.append(cut)
    return whole.with_id(name)


def clip_ids(cut: "Cut") -> list[str]:
    """The utterances that a cut plays, in order."""
    return [supervision.id for supervision in cut.supervisions]


def bucket(
    cuts: "Iterable[Cut] | CutSet", batch_seconds: float, buckets: int, shuffle: bool, seed: int
) -> "list[CutSet]":
    """Batches of cuts of like duration, at most ``batch_seconds`` of audio each. The same seed gives the same batches."""
    from lhotse import CutSet
    from lhotse.dataset import DynamicBucketingSampler, SimpleCutSampler

    # A list and not a sampler: Lightning would set a sampler's epoch, and in another way when a run is resumed.
    cuts = CutSet.from_cuts(cuts)
    # One process trains on the whole set: world size and rank are given, so that lhotse does not look for a cluster.
    options = {"max_duration": batch_seconds, "shuffle": shuffle, "seed": seed, "world_size": 1, "rank": 0}
    if buckets == 1 or len(cuts) < 2 * buckets:
        return list(SimpleCutSampler(cuts, **options))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*eagerly read CutSet")  # the cuts of an epoch fit in memory
        return list(DynamicBucketingSampler(cuts, num_buckets=buckets, **options))
