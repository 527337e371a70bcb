"""An utterance, and where its audio comes from: a file, a member of a tar file, or what a command prints."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from audiorec.audio.file import NamedBytes, Source
from audiorec.data.tar import Archives, Member
from audiorec.errors import UserError


@dataclass(frozen=True)
class Pipe:
    """A shell command of wav.scp that prints audio (``flac -c -d a.flac |``). Only ``allow_pipes`` makes one."""

    command: str

    def __str__(self) -> str:
        return f"{self.command} |"

    def open(self) -> NamedBytes:
        """Run it, in the working directory as Kaldi does, and return all that it prints.

        Raises UserError with its exit status and last words where it fails or prints nothing.
        """
        done = subprocess.run(self.command, shell=True, stdin=subprocess.DEVNULL, capture_output=True)
        said = done.stderr.decode(errors="replace").split("\n")
        last = next((f" ({line.strip()})" for line in reversed(said) if line.strip()), "")
        if done.returncode:
            raise UserError(f"the command `{self.command}` ends with exit status {done.returncode}{last}")
        if not done.stdout:
            raise UserError(f"the command `{self.command}` prints nothing{last}")
        return NamedBytes(done.stdout, f"output of `{self.command}`")


Audio = Path | Member | Pipe


class Stretch(NamedTuple):
    """A label from start to end: in seconds of an utterance, or in samples of a row."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Utterance:
    """What one speaker says from start to end, in seconds, of a recording; end None is the recording's end.

    ``channel`` (0 is the first) names one channel of the file; None stands for the average of all. ``labels`` are in order,
    without overlap; their seconds count from the utterance's start.
    """

    id: str
    recording: str
    path: Audio
    start: float
    end: float | None
    text: str
    speaker: str
    channel: int | None = None
    labels: tuple[Stretch, ...] = ()


def source(path: Audio, archives: Archives | None = None) -> Source:
    """What the functions of audiorec.audio read: a command is run now, a member read; archives stay open in ``archives``."""
    if isinstance(path, Member):
        return path.open(archives)
    return path.open() if isinstance(path, Pipe) else path
