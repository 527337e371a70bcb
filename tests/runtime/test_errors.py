"""What a user can mend is one line that names the file or the argument."""

import sys
from pathlib import Path

import pytest
import yaml

import audiorec
from audiorec.errors import ConfigError, UserError
from tests.runtime.handmade import make

pytest.importorskip("onnxruntime")


def changed(**keys):
    def change(folder: Path) -> None:
        path = folder / "export.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))

    return change


def cut(name: str, end: int = -50):
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:end])

    return change


def gone(name: str):
    return lambda folder: (folder / name).unlink()


def foreign(folder: Path) -> None:
    path = folder / "tokens.txt"
    path.write_text(path.read_text() + "\u2581ten 12\n")


FAULTS = {
    "no tokens": (gone("tokens.txt"), "no tokenizer here"),
    "foreign tokens": (foreign, r"tokens\.txt: has 13 pieces, export\.yaml says 12"),
    "a newer format": (changed(format=2), r"export\.yaml: kind 'onnx', format 2; this version reads .*newer audiorec"),
    "another kind": (changed(kind="sherpa-onnx"), r"export\.yaml: kind 'sherpa-onnx'"),
    "no mapping": (lambda folder: (folder / "export.yaml").write_text("[1]"), r"export\.yaml: no export"),
    "a key missing": (lambda folder: (folder / "export.yaml").write_text("{format: 1, kind: onnx}"), "is required"),
    "a bad value": (changed(period=0), "period"),
    "a state that the graphs do not have": (changed(state=[]), r"begin\.onnx: has outputs .*not of one export"),
    "a state of another shape": (
        changed(state=[{"name": name, "shape": [7], "dtype": "float32"} for name in ("tail", "total")]),
        r"begin\.onnx: state\.tail is .*export\.yaml makes it",
    ),
    "a first feed that is another's": (changed(first_feed=320), r"begin\.onnx: samples is .*export\.yaml makes it"),
    "a graph cut short": (cut("step.onnx"), r"step\.onnx: damaged"),
    "an empty graph": (cut("end.onnx", 0), r"end\.onnx: damaged"),
    "a graph missing": (gone("short.onnx"), r"short\.onnx: missing"),
    "no step": (gone("step.onnx"), r"step\.onnx: missing, and step_1\.onnx too"),
    "no joiner": (gone("joiner.onnx"), r"joiner\.onnx: missing"),
    "no first history": (gone("predictor.npz"), r"predictor\.npz: missing"),
    "a first history cut short": (cut("predictor.npz", 40), r"predictor\.npz: damaged"),
    "times that are none": (lambda folder: (folder / "times.yaml").write_text("{format: 3}"), r"times\.yaml"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_folder_at_fault_is_named(name, tmp_path):
    change, said = FAULTS[name]
    folder = make(tmp_path / "made", "rnnt")
    audiorec.load(folder)
    change(folder)
    with pytest.raises(UserError, match=said) as caught:
        audiorec.load(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


ARGUMENTS = {
    "hotwords": ({"search": {"hotwords": ["one"]}}, ConfigError, "search: hotwords: needs a beam"),
    "a lexicon": ({"search": {"kind": "beam", "lexicon": "words.txt"}}, UserError, "words.txt: no such lexicon"),
    "two heads": ({"search": {"skip_blank": 0.9}}, ConfigError, "search.skip_blank: takes a CTC head beside"),
    "a model to fuse": (
        {"search": {"kind": "beam", "fuse": "lm"}},
        ConfigError,
        "search.fuse: a recurrent .* needs torch",
    ),
    "no internal model": (
        {"search": {"kind": "beam", "ilm_weight": 0.5}},
        ConfigError,
        "search.ilm_weight: CTC has no",
    ),
    "priors": (
        {"search": {"kind": "beam", "prior_weight": 1}},
        ConfigError,
        "search.prior_weight: the priors of .* not",
    ),
    "an unknown key": ({"search": {"beams": 3}}, ConfigError, "search.beams"),
    "symbols": ({"search": {"max_symbols": 3}}, ConfigError, "head 'ctc' emits one symbol a frame at most"),
    "no symbols": ({"search": {"max_symbols": 0}}, ConfigError, "search.max_symbols"),
    "device": ({"device": "cuda"}, UserError, "device cuda: the onnx runtime computes on the CPU"),
    "head": ({"head": "transducer"}, UserError, "has no head 'transducer'; the one that was exported is ctc"),
    "threads": ({"threads": 0}, UserError, "threads must be 1 or more"),
    "endpoint": ({"endpoint": {"silence": 0}}, ConfigError, "endpoint.silence"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_this_runtime_has_not_is_named(name, tmp_path):
    keys, kind, said = ARGUMENTS[name]
    folder = make(tmp_path / "made")
    with pytest.raises(kind, match=said):
        audiorec.load(folder, **keys)


def test_what_works_elsewhere_is_said(tmp_path):
    recognizer = audiorec.load(make(tmp_path / "made"), search={"kind": "greedy"}, device="auto", head="ctc")
    with pytest.raises(ConfigError, match=r"search\.hotwords: needs a beam; load the model with search="):
        recognizer.stream(search={"hotwords": ["one"]})
    with recognizer.stream(search={}) as stream:
        stream.accept(b"\0\0" * 800)
    with pytest.raises(UserError, match="latency 480 ms: this export has its only one"):
        recognizer.at_latency(480)
    with pytest.raises(UserError, match="sample_rate must be positive"):
        recognizer.stream(0)
    with pytest.raises(UserError, match=r"3 streams begin, and 2 of 2 slots are free"):
        recognizer.runner(2)._must_have_room(3)


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"onnxruntime is not installed; pip install 'audiorec-speech\[runtime\]'"):
        audiorec.load(make(tmp_path / "made"))


def test_a_search_config_with_its_defaults_is_greedy(tmp_path):
    from audiorec.search import SearchConfig

    folder = make(tmp_path / "made")
    audiorec.load(folder, search=SearchConfig())
    with pytest.raises(ConfigError, match=r"search\.kind: a tdt head has no beam; leave it greedy"):
        audiorec.load(make(tmp_path / "tdt", "tdt"), search=SearchConfig(kind="beam"))


def test_a_beam_without_the_native_kernels_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("audiorec.runtime.recognizer.LIBRARY", None)
    folder = make(tmp_path / "made")
    audiorec.load(folder)
    with pytest.raises(ConfigError, match=r"search\.kind: a beam needs the native kernels: .*or search greedily"):
        audiorec.load(folder, search={"kind": "beam"})
