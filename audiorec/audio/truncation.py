"""Whether an audio file holds fewer data than its header promises: what libsndfile takes silently as a shorter recording."""

import re
from mmap import mmap

import soundfile

View = mmap | bytes

OGG_PAGE = 27 + 255 + 255 * 255  # bytes, the largest
PAF_HEADER, IRCAM_HEADER = 2048, 1024  # bytes


def cut_short(file: soundfile.SoundFile, view: View) -> bool:
    """Whether the data end before the header says, for an open file and its bytes.

    Formats without a length in the header (paf, pvf, ircam, sd2) are cut short where they end within a frame. A cut flac
    or mp3 file may show only when it is decoded.
    """
    log = file.extra_info  # libsndfile's account of the header
    match file.format:
        case "OGG":
            return _cut_ogg(view)
        case "MP3":
            promised = _xing_count(view, flag=2)
            return promised is not None and promised > len(view)
        case "NIST":
            count = re.search(rb"sample_count -i (\d+)", view[:1024])
            return count is not None and int(count[1]) > file.frames
        case "AVR" | "MPC2K":
            return _number(r"Frames +: (\d+)", log) > file.frames
        case "SDS":
            return file.frames > sds_frames(file) or "short read" in log
        case "MAT5":
            return _number(r"Cols : (\d+)", log) > file.frames
        case "XI":
            return _number(r"size +: (\d+)", log) > len(view) - _number(r"Data Offset +: (\d+)", log)
        case "CAF":
            size = _number(r"^data : (\d+)", log)
            start = view.find(b"data" + size.to_bytes(8, "big")) + 12
            return start >= 12 and start + size > len(view)
        case "PAF" | "IRCAM" | "PVF" | "SD2":
            return _torn(file, len(view), log)
        case "MAT4" | "VOC" | "WVE":
            return (
                "truncated file" in log or "to be truncated" in log or _fewer(r"Data length (\d+) should be (\d+)", log)
            )
        case _:
            return _fewer(r"^ *(?:data|SSND|BODY|riff|Riff size|Data Size) +: (\d+) \(should be (\d+)\)", log)


def sds_frames(file: soundfile.SoundFile) -> int:
    """The frames of a Midi sample dump (sds) that are in the file: libsndfile gives zeros for the rest of its count."""
    return _number(r"Frames +: (\d+)", file.extra_info)


def has_frame_count(view: View) -> bool:
    """Whether the first frame of an mp3 file holds Xing's frame count; without one, libsndfile's length is a guess."""
    return _xing_count(view, flag=1) is not None


def _number(pattern: str, log: str) -> int:
    numbers = re.findall(pattern, log, re.MULTILINE)
    return int(numbers[-1]) if numbers else 0


def _fewer(pattern: str, log: str) -> bool:
    """Whether the log says that fewer bytes follow than promised."""
    found = re.search(pattern, log, re.MULTILINE)
    if found is None:
        return False
    promised, present = int(found[1]), int(found[2])
    # Who writes to a pipe does not know the length and promises 2 or 4 GiB, less a little (SoX's aiff: 2 GiB less 16 MiB).
    piped = 2**31 - 2**24 <= promised <= 2**31 or 2**32 - 8192 <= promised <= 2**32
    return promised > present and not piped


def _torn(file: soundfile.SoundFile, size: int, log: str) -> bool:
    start = {"PAF": PAF_HEADER, "IRCAM": IRCAM_HEADER, "PVF": _number(r"Data Offset +: (\d+)", log)}.get(file.format, 0)
    if (file.format, file.subtype) == ("PAF", "PCM_24"):
        frame = 32  # ten samples
    else:
        frame = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4}.get(file.subtype, 1)
    return (size - start) % (frame * file.channels) != 0


def _cut_ogg(view: View) -> bool:
    """Whether the last page is torn, or lacks the mark that ends a stream."""
    tail = view[max(0, len(view) - 2 * OGG_PAGE) :]
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & 4 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _xing_count(view: View, flag: int) -> int | None:
    """A count in the first mp3 frame (1: of frames, 2: of bytes), by Xing or LAME; None where there is none."""
    start = view[:10]
    tag = 10 + sum(byte << shift for byte, shift in zip(start[6:], (21, 14, 7, 0), strict=True))
    at = tag if start.startswith(b"ID3") else 0
    found = re.search(rb"(?:Xing|Info)...(.)(.{4})(.{4})", view[at : at + 256], re.DOTALL)
    if found is None or not found[1][0] & flag:
        return None
    return int.from_bytes(found[3] if flag == 2 and found[1][0] & 1 else found[2], "big")
