"""Exported models: onnxruntime says what torch says of the model itself, and needs no torch for it."""

import os
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

import audiorec
from audiorec.config import parse
from audiorec.live import Engine
from audiorec.models import ModelConfig
from audiorec.runtime import runner
from audiorec.search import SearchConfig, build_words
from audiorec.transcript import ENDPOINT, EndpointConfig
from audiorec.transcript.delays import save_delays
from tests.conftest import TINY
from tests.live.recognizers import build

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)

ROOT = Path(__file__).resolve().parents[2]
TIE = 1e-4
RULES = EndpointConfig(silence=0.3, silence_after_words=0.2, longest=1)
SLOW = (
    "ctc, words",
    "beam",
    "ctc",
    "tdt",
    "ctc, look-ahead",
    "rnnt, mamba",
    "one symbol a frame",
    "classify",
    "frames",
)
CASES = ["rnnt", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, speech):
    """Name of a recogniser → it, and the folder that it was exported to, each once: it takes seconds."""
    from audiorec.export.onnx import write_export

    @cache
    def export(name: str) -> tuple[audiorec.Recognizer, Path]:
        rules = None if name == "classify" else RULES
        recognizer, folder = build(name, speech, rules), tmp_path_factory.mktemp("export")
        head = next(iter(recognizer.model.heads))
        write_export(folder, recognizer.model, head, recognizer.tokenizer, parse(ModelConfig, TINY))
        save_delays(folder, dict(recognizer.delays))
        return recognizer, folder

    return export


@pytest.fixture(scope="module")
def rnnt(exported):
    """An exported transducer, and its recogniser."""
    return exported("rnnt")


@pytest.mark.parametrize("name", CASES)
def test_the_words_are_torchs(name, exported, speech):
    torchs, folder = exported(name)
    mine = audiorec.load(folder, search=torchs.search_config, endpoint=torchs.endpoint)
    assert not isinstance(mine, audiorec.Recognizer) and mine.delay == torchs.delay
    draw, told, ties = random.Random(0), 0, 0
    lengths = [1, 100, 700, *(draw.randrange(200, 24000) for _ in range(12))]
    clips = [speech[draw.randrange(0, 160000) :][:length] for length in lengths]
    together = mine.transcribe(clips)
    for clip, joint in zip(clips, together, strict=True):
        with mine.stream() as stream:
            at = 0
            while at < len(clip):
                size = draw.choice([1, 80, 333, 4000])
                stream.accept(clip[at : at + size])
                at += size
        wanted, alone = torchs.transcribe(clip), mine.transcribe(clip)
        if min(one.margin for one in (wanted, alone, joint, stream.partial())) < TIE:
            ties += 1
            continue
        for found in (alone, joint, stream.partial()):
            assert found.segments == wanted.segments
            sure = [[token.confidence for token in result.tokens] for result in (found, wanted)]
            np.testing.assert_allclose(*sure, atol=1e-3)
            assert found.margin == pytest.approx(wanted.margin, abs=1e-3)
        told += len(wanted.tokens)
    # Homophones of a lexicon tie.
    assert told > (1 if name == "classify" else 50) and ties < (12 if name == "ctc, words" else 4)


WITHOUT_TORCH = """
import sys
for name in ("torch", "safetensors", "lightning", "onnx", "onnxscript"):
    sys.modules[name] = None  # an import of it fails

import audiorec
from audiorec.live import Engine

recognizer = audiorec.load(sys.argv[1])
file = sys.argv[2]
alone = recognizer.transcribe(file, accept_truncated=False)
assert recognizer.transcribe([file, file])[1].segments == alone.segments
from audiorec.audio.read import read
samples, rate = read(file)
with recognizer.stream(rate) as stream:
    for start in range(0, len(samples), 999):
        stream.accept((samples[start : start + 999] * 32767).round().astype("<i2").tobytes())
assert stream.partial().tokens
print(alone.text)
assert not any(name.split(".")[0] == "torch" for name in sys.modules if sys.modules[name])
"""

COMMAND = """
import sys
sys.modules["torch"] = None
sys.argv = ["audiorec", "transcribe", *sys.argv[1:]]
from audiorec.cli import main
main()
"""


def python(code: str, *arguments: Path | str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=env, capture_output=True, text=True)


def test_it_needs_no_torch(rnnt, speech, tmp_path):
    torchs, folder = rnnt
    file = tmp_path / "speech.wav"
    soundfile.write(file, speech[:80000], 8000, subtype="FLOAT")
    torchs.endpoint, rules = ENDPOINT, torchs.endpoint
    wanted = torchs.transcribe(file)
    torchs.endpoint = rules
    for code in (WITHOUT_TORCH, COMMAND):
        done = python(code, folder, file)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == wanted.text or wanted.margin < TIE
    assert len(wanted.tokens) > 10


ARPA = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-1.0 <unk>
-99 <s> -0.3
-1.0 </s>
-0.7 one -0.2
-0.8 nine -0.1
-1.5 seven

\\2-grams:
-0.2 one nine
-0.1 nine one

\\end\\
"""


def test_words_need_no_torch(rnnt, speech, tmp_path):
    torchs, folder = rnnt
    file, lexicon, arpa = tmp_path / "speech.wav", tmp_path / "lexicon.txt", tmp_path / "words.arpa"
    soundfile.write(file, speech[:80000], 8000, subtype="FLOAT")
    lexicon.write_text("one\nnine\nseven\n")
    arpa.write_text(ARPA)
    settings = {"lexicon": lexicon, "word_lm": arpa, "word_lm_weight": 0.4, "word_bonus": 1.0, "unk_score": -2.0}
    config = parse(SearchConfig, {"kind": "beam", **settings})
    words = build_words(config, torchs.tokenizer, torchs.normalize)
    search = audiorec.Recognizer(
        torchs.model, torchs.tokenizer, search=config, delays=torchs.delays, normalize=torchs.normalize, words=words
    )
    wanted = search.transcribe(file)
    options = [part for key, value in settings.items() for part in (f"--{key.replace('_', '-')}", value)]
    done = python(COMMAND, folder, file, "--search", "beam", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == wanted.text or wanted.margin < TIE
    assert len(set(wanted.text.split())) > 1


def test_a_model_folder_without_torch_is_one_clear_line(tmp_path):
    done = python(COMMAND, tmp_path, tmp_path / "speech.wav")
    assert done.returncode == 1 and "torch, which is not installed" in done.stderr and done.stderr.count("\n") == 1


def test_load_takes_what_is_there_and_says_so(rnnt, model_dir, caplog):
    _, folder = rnnt
    with caplog.at_level("INFO", "audiorec"):
        assert isinstance(audiorec.load(folder), audiorec.live.BaseRecognizer)
        assert isinstance(audiorec.load(model_dir), audiorec.Recognizer)
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: computed by onnxruntime",
        f"{model_dir}: computed by torch",
    ]
    for path, runtime, said in (
        (folder, "torch", "an export, not a model"),
        (model_dir, "onnx", "export.yaml: missing"),
        (folder, "tflite", "no runtime 'tflite'; give auto, onnx, torch"),
    ):
        with pytest.raises(audiorec.UserError, match=said):
            audiorec.load(path, runtime=runtime)


def test_sixteen_sessions_come_and_go(rnnt, speech, monkeypatch):
    monkeypatch.setattr(runner, "ROWS", 2)
    _, folder = rnnt
    recognizer, draw = audiorec.load(folder, threads=2), random.Random(1)
    clips = [speech[draw.randrange(0, 160000) :][: draw.randrange(1, 12000)] for _ in range(16)]
    with Engine(recognizer, slots=5) as engine:
        heard = []
        for start in range(0, 16, 4):
            sessions = [engine.session() for _ in range(4)]
            for session, clip in zip(sessions, clips[start : start + 4], strict=True):
                session.accept(clip)
            heard += [session.finish() for session in sessions]
    for clip, result in zip(clips, heard, strict=True):
        alone = recognizer.transcribe(clip)
        assert result.segments == alone.segments or min(alone.margin, result.margin) < TIE
