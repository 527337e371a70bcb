"""Utterances of a speaker joined to longer ones, in their order: how does a model fare where speech goes on?"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from audiorec.data.copies import Made
from audiorec.data.durations import sample_rate
from audiorec.data.kaldi import Recordings
from audiorec.data.utterance import Stretch, Utterance
from audiorec.errors import UserError
from audiorec.progress import progress


def joined(utterances: Sequence[Utterance], count: int, gap: float) -> Iterator[Made]:
    """``count`` utterances of each speaker in one, at the highest of their rates, with ``gap`` seconds of silence between.

    The last ones of a speaker may be fewer, so that no word is lost. Labels move with the audio.

    Raises UserError where no speaker has two utterances, and for audio that cannot be read.
    """
    speakers = defaultdict(list)
    for utterance in utterances:
        speakers[utterance.speaker].append(utterance)
    if count > 1 and all(len(own) == 1 for own in speakers.values()):
        raise UserError("no speaker has two utterances to join: name the speakers in utt2spk")
    recordings, rate_of = Recordings(), cache(sample_rate)
    with progress("joining", len(utterances)) as advance:
        for speaker, own in sorted(speakers.items()):
            for number, start in enumerate(range(0, len(own), count)):
                members = own[start : start + count]
                rate = max(rate_of(member.path) for member in members)
                silence = np.zeros(round(gap * rate), np.float32)
                parts, labels, at = [], [], 0
                for member in members:
                    samples = recordings.samples(member, rate)
                    labels += [Stretch(at / rate + x.start, at / rate + x.end, x.label) for x in member.labels]
                    parts += [samples, silence]
                    at += len(samples) + len(silence)
                text = " ".join(member.text for member in members if member.text)
                name = f"{speaker}-{number:05d}"
                yield replace(members[0], id=name, text=text, labels=tuple(labels)), np.concatenate(parts[:-1]), rate
                advance(len(members))
