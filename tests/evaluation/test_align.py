"""``audiorec align``: CTM files of any head, and each utterance that has no alignment named."""

import json
from pathlib import Path

import pytest

from audiorec.audio.read import write
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError
from audiorec.evaluation.align import align
from audiorec.models import save_model
from audiorec.text import train_tokenizer
from tests.conftest import WORDS
from tests.models.test_heads import make

TEXTS = {"long": "one two two", "one": "seven", "short": "one two three four five six", "silent": ""}
SIZES = {"long": 12000, "one": 5000, "short": 400, "silent": 3000}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for head in ("hybrid", "modified", "tdt"):
        model, config = make("lstm", head)
        save_model(folder / head, model, config, train_tokenizer("word", [WORDS]), "# small\n")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory, speech) -> Path:
    folder = tmp_path_factory.mktemp("data")
    utterances = []
    for name, text in TEXTS.items():
        write(folder / f"{name}.wav", speech[8000 : 8000 + SIZES[name]], 8000)
        utterances.append(Utterance(name, name, folder / f"{name}.wav", 0.0, None, text, "theo"))
    write_data_dir(folder / "all", utterances)
    return folder / "all"


@pytest.mark.parametrize("model, head", [("hybrid", None), ("hybrid", "ctc"), ("modified", None), ("tdt", None)])
def test_every_head_aligns(models, data, tmp_path, model, head):
    summary = align(models / model, data, tmp_path / "out", head)
    again = align(models / model, data, tmp_path / "out", head)  # replaces the first
    fits = summary["head"] == "transducer" and model in ("hybrid", "tdt")  # several tokens may share a frame there
    misfit = {} if fits else {"short": "its 6 tokens do not fit into 2 frames"}
    assert summary == again == json.loads((tmp_path / "out/align.json").read_text())
    assert summary["left_out"] == {"silent": "its text is empty", **misfit} and all(
        score < 0 for score in summary["scores"].values()
    )
    for file, mark in (("words.ctm", ""), ("tokens.ctm", "\u2581")):
        lines = [line.split() for line in (tmp_path / "out" / file).read_text().splitlines()]
        for name in {"long", "one", "short"} - set(misfit):
            times = [(float(start), float(length)) for key, _, start, length, _ in lines if key == name]
            assert [line[4] for line in lines if line[0] == name] == [mark + word for word in TEXTS[name].split()]
            assert times == sorted(times) and all(length > 0 for _, length in times)
            assert times[-1][0] < SIZES[name] / 8000


def test_what_cannot_be_aligned_is_one_line(models, data, speech, tmp_path):
    with pytest.raises(UserError, match="has no head 'ctc'; it has transducer"):
        align(models / "tdt", data, tmp_path / "out", "ctc")
    write(tmp_path / "a.wav", speech[:4000], 8000)
    write_data_dir(tmp_path / "data", [Utterance("u", "u", tmp_path / "a.wav", 0.0, None, "", "theo")])
    with pytest.raises(UserError, match="no utterance has an alignment; u: its text is empty"):
        align(models / "tdt", tmp_path / "data", tmp_path / "out")
    with pytest.raises(UserError, match="holds other files"):
        align(models / "tdt", data, data)
    assert not (tmp_path / "out").exists()
