"""Audio files: every format, any rate and split gives the same samples; every fault is told in one line."""

import io
import logging
import os
import struct
import threading
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiorec.audio import read as module
from audiorec.audio.read import blocks, check, header, read, write
from audiorec.audio.resample import Resampler
from audiorec.errors import UserError

RECORDINGS = Path(__file__).parents[2] / "egs" / "digits" / "recordings"
SUFFIXES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]


def tone(seconds: float = 2.0, rate: int = 16000) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(round(seconds * rate)) * 0.02
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(len(noise)) / rate) + noise).astype(np.float32)


def error_of(action, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        action(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def decode(path: Path, seconds: float) -> np.ndarray:
    return np.concatenate([samples for samples, _ in blocks(path, seconds)])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_written_file_reads_back(tmp_path, suffix):
    path, samples = tmp_path / f"tone{suffix}", tone(40)
    write(path, samples, 16000)
    back, rate = read(path)
    assert rate == 16000 and back.dtype == np.float32 and back.shape == samples.shape
    assert header(path).frames == len(samples)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    error = np.abs(back - samples)
    assert error.max() <= 2**-15 if suffix in (".wav", ".flac") else np.sqrt((error**2).mean()) < 0.03


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_block_size_decodes_the_same(tmp_path, suffix):
    path = RECORDINGS / "theo.opus"
    if suffix != ".opus":
        path = tmp_path / f"tone{suffix}"
        write(path, tone(7.3), 16000)
    whole = decode(path, 1e4)
    assert np.abs(whole - soundfile.read(path, dtype="float32")[0]).max() < 1e-6  # soundfile seeks in mp3: not equal
    for seconds in (0.0999, 3.0):
        assert np.array_equal(decode(path, seconds), whole)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_channels_are_averaged_and_resampled(tmp_path, rate):
    seconds = np.arange(2 * rate) / rate
    channels = [np.sin(2 * np.pi * hertz * seconds) for hertz in (300.0, 700.0, 1100.0)]
    soundfile.write(tmp_path / "a.wav", np.stack(channels, 1), rate, subtype="FLOAT")
    samples, to_rate = read(tmp_path / "a.wav", 16000)
    seconds = np.arange(32000) / 16000
    expected = sum(np.sin(2 * np.pi * hertz * seconds) for hertz in (300.0, 700.0, 1100.0)) / 3
    assert to_rate == 16000 and samples.shape == expected.shape
    assert np.abs(samples - expected)[2000:-2000].max() < 1e-3


def test_a_file_is_resampled_as_a_live_stream_is():
    live, path = Resampler(8000, 16000), RECORDINGS / "lucas.opus"
    pieces = [live.push(samples) for samples, _ in blocks(path, 0.16)]
    assert np.array_equal(np.concatenate([*pieces, live.flush()]), read(path, 16000)[0])


def test_resampling_copies_what_a_recorder_may_overwrite():
    buffer = tone(0.01)
    out = Resampler(16000, 16000).push(buffer)
    kept = out.copy()
    buffer[:] = 0
    assert np.array_equal(out, kept)


def test_a_long_file_streams_in_constant_memory(tmp_path):
    """The whole file is 115 MB of float32; a block of two channels and its average are 1 MB."""
    path, rate = tmp_path / "long.flac", 8000
    with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((30 * rate, 2), np.int16))
    tracemalloc.start()
    total = sum(len(samples) for samples, _ in blocks(path, 10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1800 * rate and peak < 3e6


# Faults


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)] if share < 1 else data[:-1])
    return path


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(20), 16000)
    assert f"{path}: cut short" in error_of(read, cut(path, share))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus"])
def test_a_file_that_lacks_its_last_byte_is_refused(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(20), 16000)
    assert f"{path}: cut short" in error_of(read, cut(path, 1.0))


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_an_ogg_file_cut_between_two_pages_is_refused(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(20), 16000)
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])
    assert "cut short" in error_of(header, path)


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".opus"])
def test_the_header_alone_shows_truncation(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(20), 16000)
    assert "cut short" in error_of(header, cut(path, 0.5))


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".flac"])
def test_a_damaged_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(20), 16000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 50] = bytes(50)
    path.write_bytes(data)
    assert "damaged" in error_of(read, path)


def resize(path: Path, riff: int, size: int) -> Path:
    """Change the sizes that a wav file promises."""
    data = bytearray(path.read_bytes())
    at = data.find(b"data")
    data[4:8], data[at + 4 : at + 8] = struct.pack("<I", riff % 2**32), struct.pack("<I", size % 2**32)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("riff", "size"),
    [(0, 0), (36, 0), (-1, 0), (-1, -1), (2**31 - 1, 2**31 - 1), (0x7FFFF024, 0x7FFFF000), (2**31 + 36, 2**31)],
    ids=["zero", "wave", "riff", "ffmpeg", "int32", "sox", "arecord"],
)
def test_a_wav_from_a_pipe_is_whole(tmp_path, riff, size):
    path, samples = tmp_path / "piped.wav", np.arange(-5000, 5000, dtype=np.int16)
    soundfile.write(path, samples, 16000)
    resize(path, riff, size)
    for source in (path, io.BytesIO(path.read_bytes())):
        assert np.array_equal(read(source)[0], samples / np.float32(2**15))
    assert header(path).frames == len(samples)


def test_a_flac_from_a_pipe_is_whole(tmp_path):
    path, samples = tmp_path / "piped.flac", tone(2)
    write(path, samples, 16000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits that count samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert header(path).frames is None
    assert len(read(path)[0]) == len(samples)
    assert "cut short" in error_of(read, cut(path, 0.5))


def test_an_mp3_without_a_count_is_not_called_truncated(tmp_path):
    path = tmp_path / "tone.mp3"
    samples = np.concatenate([np.zeros(160000, np.float32), tone(10)])
    with soundfile.SoundFile(path, "w", 16000, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(samples)
    assert header(path).frames == len(samples)
    data = path.read_bytes()
    counted_frame = data.find(data[:2], 4)
    path.write_bytes(b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + data[counted_frame:])
    assert header(path).frames is None
    assert abs(len(read(path)[0]) - len(samples)) < 2400


def test_chunks_after_the_data_may_be_cut(tmp_path):
    path = tmp_path / "a.wav"
    write(path, tone(1), 16000)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 1000) + b"INFO")
    assert len(read(path)[0]) == 16000


def test_what_is_no_audio_is_told_in_one_line(tmp_path):
    (tmp_path / "text.wav").write_text("hello\n" * 100)
    (tmp_path / "nothing.wav").touch()
    with wave.open(str(tmp_path / "silent.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    for name, complaint in [
        ("missing.wav", "no such file"),
        (".", "a folder"),
        ("text.wav", "not readable as audio"),
        ("nothing.wav", "an empty file"),
        ("silent.wav", "holds no samples"),
    ]:
        for action in (read, header):
            message = error_of(action, tmp_path / name)
            assert message.startswith(str(tmp_path / name)) and complaint in message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_sample_is_named(tmp_path, bad):
    samples = tone(70)
    samples[16000 * 65] = bad
    assert f"microphone: sample {16000 * 65} is {bad}" in error_of(check, samples, "microphone")
    assert "sample" in error_of(write, tmp_path / "a.wav", samples, 16000)
    soundfile.write(tmp_path / "b.wav", np.stack([samples, samples], 1), 16000, subtype="FLOAT")
    assert f"b.wav: sample {16000 * 65} is {bad}" in error_of(read, tmp_path / "b.wav")


def test_check_takes_the_usual_types_and_refuses_the_rest():
    for kind, full in [(np.int16, 2**15), (np.int32, 2**31)]:
        samples = check(np.array([-full, 0, full // 2], kind), "x")
        assert samples.dtype == np.float32 and samples.tolist() == [-1.0, 0.0, 0.5]
    same = tone(0.1)
    assert check(same, "x") is same
    assert check(same.astype(np.float64), "x").dtype == np.float32
    assert "uint8" in error_of(check, np.zeros(3, np.uint8), "x")
    assert "(3, 2)" in error_of(check, np.zeros((3, 2), np.float32), "x")
    assert "inf" in error_of(check, np.array([1e300]), "x")


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    kept = tmp_path / "a.opus"
    kept.write_bytes(b"before")
    assert "44100 Hz" in error_of(write, kept, tone(1), 44100)
    assert "'.doc'" in error_of(write, tmp_path / "a.doc", tone(1), 16000)
    assert "no samples" in error_of(write, tmp_path / "a.wav", np.zeros(0), 16000)
    assert "cannot be written" in error_of(write, tmp_path / "none" / "a.wav", tone(1), 16000)
    assert kept.read_bytes() == b"before" and list(tmp_path.iterdir()) == [kept]


@pytest.mark.parametrize("rate", [0, 999, 768_001, 10**9])
def test_rates_outside_1_to_768_khz_are_refused(tmp_path, rate):
    assert f"sample rate {rate} Hz" in error_of(Resampler, 16000, rate)
    assert f"sample rate {rate} Hz" in error_of(read, RECORDINGS / "theo.opus", rate)
    write(tmp_path / "a.wav", tone(), 16000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:28] = struct.pack("<I", rate)
    (tmp_path / "a.wav").write_bytes(data)
    for action in (read, header):
        message = error_of(action, tmp_path / "a.wav")
        assert message.startswith(str(tmp_path / "a.wav")) and ("Hz, outside 1000 to 768000 Hz" in message or not rate)


# Where libsndfile takes what is there as a shorter recording, but for HTK, which it refuses.
LENGTH_IN_HEADER = [
    *("AIFF", "AU", "AVR", "CAF", "FLAC", "MAT4", "MAT5", "MPC2K", "MP3", "NIST", "RF64", "SDS", "SVX", "VOC", "W64"),
    *("WAV", "WAVEX", "WVE", "OGG"),
]
NO_LENGTH_IN_HEADER = ["IRCAM", "PAF", "PVF"]  # of these only torn frames show


def audio_of(kind: str, seconds: float = 2.0) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(seconds, 8000), 8000, "PCM_24" if kind == "PAF" else None, format=kind)
    return file.getvalue()


def cut_file(folder: Path, kind: str, size: int) -> Path:
    path = folder / f"cut.{kind.lower()}"
    path.write_bytes(audio_of(kind)[:size])
    return path


@pytest.mark.parametrize("share", [0.7, 0.93])
@pytest.mark.parametrize("kind", LENGTH_IN_HEADER)
def test_data_shorter_than_the_header_promises_are_refused_in_every_format(tmp_path, kind, share):
    whole = audio_of(kind)
    assert abs(len(read(io.BytesIO(whole))[0]) - 16000) < 200
    path = cut_file(tmp_path, kind, round(len(whole) * share))
    message = error_of(read, path)
    refused_by_libsndfile = kind == "OGG" and f"{path}: not readable as audio" in message
    assert message.startswith(f"{path}: cut short") or refused_by_libsndfile


@pytest.mark.parametrize("kind", NO_LENGTH_IN_HEADER)
def test_a_torn_frame_is_refused_where_the_header_has_no_length(tmp_path, kind):
    whole = audio_of(kind)
    assert len(read(io.BytesIO(whole))[0]) == 16000
    assert "cut short" in error_of(read, cut_file(tmp_path, kind, len(whole) - 5001))


@pytest.mark.parametrize("kind", [*LENGTH_IN_HEADER, *NO_LENGTH_IN_HEADER])
def test_a_truncated_file_is_taken_as_far_as_it_goes_where_that_is_asked(tmp_path, kind, caplog):
    whole = read(io.BytesIO(audio_of(kind, 8.0)))[0]
    data = audio_of(kind, 8.0)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(data[: len(data) * 93 // 100 // 2 * 2 + len(data) % 2 + 1])
    samples, _ = read(path, accept_truncated=True)
    assert 0.85 < len(samples) / len(whole) < 0.96
    if kind != "MP3":  # a decoder's last samples before damage are its own
        assert np.array_equal(samples[:-500], whole[: len(samples) - 500])
    (record,) = caplog.records
    assert record.name == "audiorec" and "cut short" in record.message and str(path) in record.message
    assert header(path, accept_truncated=True).frames in (len(samples), len(whole), None)


def test_header_counts_that_no_file_can_hold_cost_nothing(tmp_path):
    data = bytearray(audio_of("FLAC"))
    data[21] |= 0x0F  # the 36 bits that count samples
    data[22:26] = b"\xff" * 4
    assert "cut short" in error_of(read, io.BytesIO(data))


# File objects and channels


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_binary_file_object_reads_as_its_file(tmp_path, suffix):
    path = tmp_path / f"tone{suffix}"
    write(path, tone(3), 16000)
    expected = read(path)[0]
    with path.open("rb") as file:
        for source in (io.BytesIO(path.read_bytes()), file):
            assert np.array_equal(read(source)[0], expected)
    assert header(io.BytesIO(path.read_bytes())) == header(path)
    assert "cut short" in error_of(read, io.BytesIO(path.read_bytes()[:-2000]))


def test_a_pipe_reads_as_its_file(tmp_path):
    write(tmp_path / "a.flac", tone(1), 16000)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[(tmp_path / "a.flac").read_bytes()])
    writer.start()
    assert np.array_equal(read(tmp_path / "pipe")[0], read(tmp_path / "a.flac")[0])
    writer.join()


def test_file_objects_without_audio_bytes_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with (tmp_path / "a.txt").open() as file:
        assert "a.txt: gives text, not bytes: open it in binary mode" in error_of(read, file)
    at_its_end = io.BytesIO(b"RIFF")
    at_its_end.seek(4)
    assert "seek(0)" in error_of(read, at_its_end)
    assert "file object: not readable as audio" in error_of(read, io.BytesIO(b"hello"))
    assert "a device" in error_of(read, "/dev/null")


def test_a_channel_may_be_named(tmp_path):
    path, left = tmp_path / "a.wav", tone(40)
    soundfile.write(path, np.stack([left, -0.5 * left], 1), 16000, subtype="FLOAT")
    assert np.array_equal(read(path, channel=0)[0], left)
    assert np.array_equal(read(path, channel=1)[0], -0.5 * left)
    assert np.abs(read(path)[0] - 0.25 * left).max() < 1e-6
    assert "has 2 channel(s), so no channel 2" in error_of(read, path, channel=2)
    assert "no channel -1" in error_of(read, path, channel=-1)


def test_floats_far_outside_their_range_are_warned_of_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "_warned", set())
    samples = np.round(tone() * 2**15)
    soundfile.write(tmp_path / "loud.wav", samples, 16000, subtype="FLOAT")
    for _ in range(2):
        assert np.array_equal(check(samples, "stream"), samples)
        assert np.array_equal(read(tmp_path / "loud.wav")[0], samples)
    check(samples.astype(np.int16), "integers")
    check(tone() * 3, "a little loud")
    assert [(r.name, r.levelno, r.message.split(": samples reach")[0]) for r in caplog.records] == [
        ("audiorec", logging.WARNING, name) for name in ("stream", str(tmp_path / "loud.wav"))
    ]
