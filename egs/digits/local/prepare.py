"""Data directories of connected digits: local/prepare.py RECORDINGS OUT.

RECORDINGS is the Kaldi data directory of this folder, or the dataset's own folder of FLAC files. Training sets are
single clips, which training joins to strings; the other sets are strings of 1 to 7 clips of one speaker at their recorded
levels, joined by gaps of faint noise and written to disk, fixed by seed. Beside their texts lies words.ctm, when each word
begins and ends: in its clip, whose place in the string is known, the first and last 10 ms less than 30 dB below the loudest.
"""

import re
import sys
from pathlib import Path

from audiorec.audio.levels import Levels
from audiorec.audio.read import write
from audiorec.data.draws import generator
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir, write_data_dir
from audiorec.data.strings import StringsConfig, draw_strings, join_clips
from audiorec.errors import UserError
from audiorec.files import write_text
from audiorec.transcript.formats import ctm_line

RATE = 8000
SEED = 20
MINIMUM_STRINGS = {"dev": 150, "test": 300}
TEST_INDEX = range(0, 5)  # the dataset's own test set
DEV_INDEX = range(5, 7)  # chooses checkpoints, so it is not trained on
UNSEEN = "theo"
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def main(recordings: Path, out: Path) -> None:
    clips = read_data_dir(recordings) if (recordings / "wav.scp").exists() else read_flac(recordings)
    seen = [clip for clip in clips if clip.speaker != UNSEEN]
    unseen = [clip for clip in clips if clip.speaker == UNSEEN]
    write_split(out / "official", clips, [clip for clip in clips if index(clip) in TEST_INDEX], TEST_INDEX)
    write_split(out / "unseen", seen, unseen, range(0))


def write_split(out: Path, clips: list[Utterance], test: list[Utterance], test_index: range) -> None:
    """train, dev and test of one way to divide the clips; clips of ``test_index`` are not trained on."""
    train = [clip for clip in clips if index(clip) not in test_index and index(clip) not in DEV_INDEX]
    write_data_dir(out / "train", train)
    write_strings(out / "dev", [clip for clip in clips if index(clip) in DEV_INDEX], MINIMUM_STRINGS["dev"])
    write_strings(out / "test", test, MINIMUM_STRINGS["test"])


def write_strings(out: Path, clips: list[Utterance], minimum: int) -> None:
    """A data directory of at least ``minimum`` strings, in which all clips occur equally often, but for one more or less."""
    config, recordings, strings, times = StringsConfig(), Recordings(), [], []
    for epoch in range(1000):
        if len(strings) >= minimum:
            break
        for name, chosen in draw_strings(clips, config, SEED, epoch):
            samples = [recordings.samples(clip, RATE) for clip in chosen]
            path = out / "audio" / f"{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            joined, starts = join_clips(samples, RATE, config, generator(SEED, epoch, name))
            write(path, joined, RATE)
            for clip, start, audio in zip(chosen, starts, samples, strict=True):
                begin, end = Levels(RATE, audio).sound()
                times.append(ctm_line(name, start / RATE + begin, start / RATE + end, clip.text))
            text = " ".join(clip.text for clip in chosen)
            strings.append(Utterance(name, name, path, 0.0, None, text, chosen[0].speaker))
    write_data_dir(out, strings)
    write_text(out / "words.ctm", "".join(times))


def read_flac(folder: Path) -> list[Utterance]:
    """The dataset as it is published: {digit}_{speaker}_{index}.flac or .wav."""
    clips = []
    for path in folder.iterdir():
        if match := re.fullmatch(r"(\d)_(\w+)_(\d+)\.(flac|wav)", path.name):
            digit, speaker, number = match[1], match[2], int(match[3])
            name = f"{speaker}-{digit}-{number:02d}"
            clips.append(Utterance(name, name, path, 0.0, None, WORDS[int(digit)], speaker))
    if len(clips) != 3000:
        raise UserError(f"{folder}: holds {len(clips)} recordings of digits, the dataset has 3000")
    return sorted(clips, key=lambda clip: clip.id)


def index(clip: Utterance) -> int:
    return int(clip.id.rsplit("-", 1)[1])


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
