"""`audiorec export`: what it writes, and one clear line for what it cannot."""

import json
import subprocess
import sys

import pytest
import yaml

from audiorec.audio.read import write
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError
from audiorec.export.check import Exported
from audiorec.export.onnx import refuse
from audiorec.models import load_model
from audiorec.models.heads import Head
from tests.command import here
from tests.export.command import export, model_of
from tests.export.laws import hold_streams


def refused(result: subprocess.CompletedProcess, code: int, *words: str) -> None:
    assert result.returncode == code and result.stderr.count("\n") == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_an_export_appears_whole_beside_the_model(run):
    folder, result = run
    assert result.returncode == 0 and "of torch" in result.stdout, result.stderr
    out = folder / "onnx"
    names = {path.name for path in out.iterdir()}
    assert names == {
        *("begin.onnx", "step.onnx", "end.onnx", "short.onnx", "weights.bin"),
        *("export.yaml", "README.md", "tokens.txt", "times.yaml"),
    }
    settings = yaml.safe_load((out / "export.yaml").read_text())
    assert settings["format"] == 1 and settings["kind"] == "onnx" and settings["head"] == {"name": "ctc", "kind": "ctc"}
    assert settings["sample_rate"] == 8000 and settings["state"][0]["dtype"] == "float32"

    import onnx

    step = onnx.load(out / "step.onnx", load_external_data=False)
    assert {entry.key: entry.value for entry in step.metadata_props}["period"] == str(settings["period"])
    sizes = {
        entry.value for tensor in step.graph.initializer for entry in tensor.external_data if entry.key == "location"
    }
    assert sizes == {"weights.bin"}
    hold_streams(Exported(out), load_model(folder)[0], "ctc")


def test_an_export_is_decoded_as_its_model_is(run, speech, tmp_path):
    folder, _ = run
    utterances = []
    for name, size in (("a", 8000), ("b", 12345), ("c", 300)):
        write(tmp_path / f"{name}.wav", speech[:size], 8000)
        utterances.append(Utterance(name, name, tmp_path / f"{name}.wav", 0.0, None, "one", "theo"))
    write_data_dir(tmp_path / "data", utterances)
    texts = []
    for model, more in ((folder, ()), (folder / "onnx", ()), (folder / "onnx", ("--streaming", "--chunk-ms", 70))):
        out = tmp_path / str(len(texts))
        done = here("decode", model, "--data", tmp_path / "data", "--out", out, *more)
        assert done.returncode == 0 and "real-time factor" in done.stdout, done.stderr
        texts.append([(out / name).read_text() for name in ("text", "words.ctm")])
        facts = json.loads((out / "decode.json").read_text())
        assert facts["state_bytes"] > 0 and facts["algorithmic_latency_ms"] > 0
    assert texts[0] == texts[1] == texts[2]


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path):
    full = model_of(tmp_path / "full", encoder={"kind": "blstm", "dim": 8, "layers": 1, "chunk": None})
    refused(export(full), 1, "whole utterances", "encoder.chunk")
    word = model_of(tmp_path / "word", encoder={"kind": "lstm", "dim": 8, "layers": 1})
    refused(export(word, "--head", "other"), 1, "head 'other'", "ctc")
    contexts = [{"chunk": None}, {"left": 4, "chunk": 2}]
    many = model_of(
        tmp_path / "many", encoder={"kind": "conformer", "dim": 8, "heads": 2, "layers": 1, "contexts": contexts}
    )
    refused(export(many), 1, "whole utterances", "--latency-ms 40")
    wrong = export(word, "--format", "tflite")
    assert wrong.returncode == 2 and "'tflite' is not one of" in " ".join(wrong.stderr.split()), wrong.stderr
    for format in ("sherpa-onnx", "pt2"):
        refused(export(word, "--format", format, "--int8"), 2, f"--format {format}", "--format onnx takes it")
        several = "--latency-ms", "80", "--latency-ms", "480"
        refused(export(word, "--format", format, *several), 2, "--latency-ms", "--format onnx takes several")
    refused(export(word, "--latency-ms", "some"), 2, "--latency-ms", "all alone", "'some'")
    refused(export(word, "--latency-ms", "80"), 1, "latency 80 ms", "one latency only")
    refused(export(word, "--int8-keep", "head"), 2, "--int8-keep", "without --int8")
    refused(export(word, "--data", "data"), 2, "--data", "without --int8")
    assert not list(tmp_path.glob("*onnx*"))


def test_a_head_of_a_plugin_has_no_runtime(tmp_path):
    model, _, _ = load_model(model_of(tmp_path / "model", encoder={"kind": "lstm", "dim": 8, "layers": 1}))
    model.heads["ctc"] = Head()
    with pytest.raises(UserError, match="no runtime has the search of head 'ctc'"):
        refuse(model, "ctc")


def test_a_folder_that_is_no_export_stays(tmp_path):
    model = model_of(tmp_path / "model", encoder={"kind": "lstm", "dim": 8, "layers": 1})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(export(model, "--out", tmp_path / "mine"), 1, "mine", "is no export")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("library", ["onnxscript", "onnxruntime"])
def test_without_its_libraries_it_names_the_extra(library, tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = model_of(tmp_path / "model", encoder={"kind": "lstm", "dim": 8, "layers": 1})
    monkeypatch.setitem(sys.modules, library, None)
    refused(export(model), 1, library, "audiorec-speech[export]")
    assert not list(tmp_path.glob("*onnx*"))
