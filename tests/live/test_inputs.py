"""Whatever users hold their audio in is transcribed the same, or refused with the line that mends it."""

import io
import json

import numpy as np
import pytest
import torch

import audiorec
from audiorec.audio.read import write
from audiorec.errors import UserError
from tests.conftest import make_model


@pytest.fixture(scope="module")
def recognizer(model_dir):
    return audiorec.load(model_dir)


@pytest.fixture(scope="module")
def wav(tmp_path_factory, speech):
    path = tmp_path_factory.mktemp("audio") / "speech.wav"
    write(path, speech[:32000], 8000)
    return path


@pytest.fixture(scope="module")
def samples(wav):
    return audiorec.audio.read.read(wav)[0]


HELD = {
    "path": lambda wav, x: wav,
    "name": lambda wav, x: str(wav),
    "BytesIO": lambda wav, x: io.BytesIO(wav.read_bytes()),
    "open file": lambda wav, x: wav.open("rb"),
    "array": lambda wav, x: x,
    "integers": lambda wav, x: np.round(x * 32768).astype(np.int16),
    "tensor": lambda wav, x: torch.from_numpy(x),
    "rate, array": lambda wav, x: (8000, x),
    "array, rate": lambda wav, x: (x, 8000),
    "tensor, numpy's rate": lambda wav, x: (torch.from_numpy(x), np.int64(8000)),
}


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("streams", [True, False])
def test_audio_in_any_form_is_the_same(recognizer, wav, samples, held, streams, tmp_path):
    if not streams:
        whole = make_model(tmp_path / "m", kind="blstm", dim=8, layers=1, strides=[4], chunk=None)
        recognizer = audiorec.load(whole)
    assert recognizer.transcribe(HELD[held](wav, samples)) == recognizer.transcribe(samples)


def test_a_pair_brings_its_rate_and_a_list_is_many(recognizer, samples):
    twice = samples.repeat(2)
    expected = recognizer.transcribe(twice, sample_rate=16000)
    assert recognizer.transcribe((16000, twice)) == recognizer.transcribe([(twice, 16000)])[0] == expected
    many, alone = recognizer.transcribe((samples, samples)), recognizer.transcribe(samples)
    assert [one.segments for one in many] == [alone.segments] * 2
    assert recognizer.transcribe(torch.from_numpy(samples).bfloat16()).text


def test_what_cannot_be_used_is_one_line_with_the_mend(recognizer, wav, samples, tmp_path):
    (tmp_path / "note.txt").write_text("no audio")
    for message, call in {
        r"io\.BytesIO\(data\).*numpy\.frombuffer\(data, '<i2'\)": lambda: recognizer.transcribe(wav.read_bytes()),
        "stream: 3 bytes are no whole number of 16-bit samples": lambda: recognizer.stream().accept(b"\0\0\0"),
        "leave sample_rate out": lambda: recognizer.transcribe(wav, sample_rate=8000),
        "leave one out": lambda: recognizer.transcribe((8000, samples), sample_rate=16000),
        r"open it in binary mode \('rb'\)": lambda: recognizer.transcribe((tmp_path / "note.txt").open()),
        "note.txt: not readable as audio": lambda: recognizer.transcribe((tmp_path / "note.txt").open("rb")),
        "holds no bytes": lambda: recognizer.transcribe(io.BytesIO()),
    }.items():
        with pytest.raises(UserError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_file_that_is_cut_short_is_refused_or_taken_as_far_as_it_goes(recognizer, wav, tmp_path):
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[:-2000])
    with pytest.raises(UserError, match="accept_truncated"):
        recognizer.transcribe(cut)
    whole, part = recognizer.transcribe(wav).tokens, recognizer.transcribe(cut, accept_truncated=True).tokens
    assert part[: len(part) // 2] == whole[: len(part) // 2] and len(part) <= len(whole)


def test_a_stream_is_a_context(recognizer, samples):
    with recognizer.stream() as stream:
        stream.accept(samples)
    assert stream.partial().segments == recognizer.transcribe(samples).segments
    with pytest.raises(UserError, match="finished"):
        stream.accept(samples)
    with recognizer.stream() as stream:
        stream.accept(samples)
        result = stream.finish()
    assert stream.partial().segments == result.segments
    with pytest.raises(ZeroDivisionError), recognizer.stream() as stream:
        raise ZeroDivisionError
    stream.accept(samples)  # not finished: nothing was lost by the error


def test_a_result_is_short_to_read_and_whole_as_json(recognizer, samples, tmp_path):
    result = recognizer.transcribe(samples)
    shown = repr(result)
    assert (
        len(shown) < 120
        and shown.startswith(f"Result({result.text[:20]!r}"[:20])
        and f"{len(result.words)} words" in shown
    )
    assert f"{result.words[0].start:.2f}" in shown and f"{result.words[-1].end:.2f} s" in shown
    assert repr(recognizer.stream().finish()) == "Result('', 0 words)"
    again = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert again["text"] == result.text and len(again["segments"]) == 1 and again["margin"] == result.margin
    words = again["segments"][0]["words"]
    assert [(w["text"], w["start"], w["end"]) for w in words] == [(w.text, w.start, w.end) for w in result.words]
    assert again["nbest"][0] == {"text": result.text, "score": 0.0}
    assert recognizer.stream().finish().to_dict()["margin"] is None
