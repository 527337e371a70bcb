"""What sherpa-onnx cannot run is told in one line that names what works; metadata are checked, since it would end the process."""

import pytest

import audiorec
from audiorec.errors import UserError
from audiorec.export import export_sherpa
from audiorec.export.sherpa import tokens_text
from audiorec.export.sherpa_check import KEYS, must_fit
from audiorec.text import Tokenizer, train_tokenizer
from tests.conftest import WORDS, make_model
from tests.export.command import export, model_of

for library in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(library)

LSTM = {"kind": "lstm", "dim": 8, "layers": 1}


class Pieces(Tokenizer):
    kind = "mine"

    _encode = _content = train = load = None

    def __init__(self, *pieces: str):
        self.pieces = ["<blk>", "<unk>", *pieces]


def test_a_label_a_predictor_and_features_of_others_do_not_fit(tmp_path, monkeypatch):
    label = model_of(tmp_path / "label", encoder=LSTM, heads={"classify": {}, "ctc": {}})
    with pytest.raises(UserError, match=r"labels \(head 'classify'\); --head ctc fits, and so does --format onnx"):
        export_sherpa(label, tmp_path / "out")
    odd = model_of(tmp_path / "odd", encoder=LSTM, features={"sample_rate": 11025, "bins": 20})
    with pytest.raises(UserError, match="multiple of 200, not 11025; --format onnx"):
        export_sherpa(odd, tmp_path / "out")
    rnnt = model_of(tmp_path / "rnnt", encoder=LSTM, heads="transducer")
    monkeypatch.setattr("audiorec.export.sherpa.StatelessPredictor", int)
    with pytest.raises(
        UserError, match="this predictor of head 'transducer': it must be stateless or lstm; --format onnx"
    ):
        export_sherpa(rnnt, tmp_path / "out")
    monkeypatch.setattr("audiorec.export.sherpa.LogMel", int)
    with pytest.raises(UserError, match="those of kind log_mel or nemo, not LogMel; --format onnx"):
        export_sherpa(model_of(tmp_path / "ctc", encoder=LSTM), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_what_does_not_fit_on_nemos_features(tmp_path):
    nemo = {"kind": "nemo", "bins": 20}
    other = model_of(tmp_path / "other", encoder=LSTM, features={**nemo, "sample_rate": 8000})
    with pytest.raises(UserError, match="features of NeMo at 16000 Hz, not 8000; --format onnx"):
        export_sherpa(other, tmp_path / "out")
    one = {"transducer": {"loss": {"kind": "full", "rnnt_type": "modified"}}, "ctc": {}}
    one = model_of(tmp_path / "one", encoder=LSTM, features=nemo, heads=one)
    with pytest.raises(
        UserError, match="10 symbols a frame on NeMo's features, and head 'transducer' one; --head ctc fits"
    ):
        export_sherpa(one, tmp_path / "out")


def test_tokens_that_are_missing_foreign_or_unreadable(tmp_path):
    model = model_of(tmp_path / "model", encoder=LSTM)
    (model / "tokens.txt").write_text((model / "tokens.txt").read_text() + "▁ten 12\n")
    with pytest.raises(UserError, match=r"model.safetensors: .* the files are not of one model"):
        export_sherpa(model, tmp_path / "out")
    (model / "tokens.txt").unlink()
    with pytest.raises(UserError, match=r"tokens\.txt"):
        export_sherpa(model, tmp_path / "out")
    with pytest.raises(UserError, match=r"piece 3, 'a b', has white space, .* use --format onnx"):
        tokens_text(Pieces("▁a", "a b"))
    with pytest.raises(UserError, match=r"pieces 2 and 3 are both '▁a', .* use --format onnx"):
        tokens_text(Pieces("▁a", "▁a"))


@pytest.mark.parametrize("kind", ["word", "char", "bpe", "unigram"])
def test_tokens_are_those_of_the_model(kind):
    tokenizer = train_tokenizer(kind, [WORDS] * 9, None if kind in ("word", "char") else 24)
    lines = [line.rsplit(" ", 1) for line in tokens_text(tokenizer).splitlines()]
    assert [int(index) for _, index in lines] == list(range(tokenizer.size))
    pieces = [piece for piece, _ in lines]
    assert pieces[0] == "<blk>" and pieces[2:] == tokenizer.pieces[2:]
    assert pieces[1] == ("▁<unk>" if kind == "word" else "<unk>")


def test_an_export_appears_beside_the_model_and_replaces_another(tmp_path):
    import onnx_ir
    import yaml

    make_model(tmp_path / "run" / "model", **LSTM, strides=[3])
    out = tmp_path / "run" / "sherpa-onnx"
    out.mkdir()
    for old in ("export.yaml", "old"):
        (out / old).write_text("")
    result = export(tmp_path / "run", "--format", "sherpa-onnx")
    assert result.returncode == 0 and "0.3 s of silence" in result.stdout, result.stderr
    assert {path.name for path in out.iterdir()} == {"export.yaml", "README.md", "tokens.txt", "model.onnx"}
    settings = yaml.safe_load((out / "export.yaml").read_text())
    text = (out / "README.md").read_text()
    assert "from_zipformer2_ctc" in text and f"{settings['tail_seconds']:g} s of silence" in text
    assert "timestamps[i] * 0.75" in text and len(text.split("```")[1].splitlines()) <= 13
    with pytest.raises(UserError, match=r"export\.yaml: kind 'sherpa-onnx', .* audiorec runs exports of --format onnx"):
        audiorec.load(out)

    graph = onnx_ir.load(out / "model.onnx")
    metadata = {key: int(value) for key, value in graph.metadata_props.items()}
    must_fit("zipformer2_ctc", "model", graph, metadata)
    for key in KEYS["zipformer2_ctc"]["model"]:
        without = {name: value for name, value in metadata.items() if name != key}
        with pytest.raises(UserError, match=rf"model.onnx: metadata \['{key}'\] missing or foreign"):
            must_fit("zipformer2_ctc", "model", graph, without)
        with pytest.raises(UserError, match=f"{key}=0: must be a whole number"):
            must_fit("zipformer2_ctc", "model", graph, {**metadata, key: 0})
    with pytest.raises(UserError, match="'other'"):
        must_fit("zipformer2_ctc", "model", graph, {**metadata, "other": 1})
    with pytest.raises(UserError, match=r"input key is \[1, None, \d+\], its metadata say \[1, None, 7\]"):
        must_fit("zipformer2_ctc", "model", graph, {**metadata, "query_head_dims": 7})
    with pytest.raises(UserError, match="9 inputs, sherpa-onnx gives 3"):
        must_fit("lstm", "encoder", graph, {**dict.fromkeys(KEYS["lstm"]["encoder"], 1), "model_type": "lstm"})
