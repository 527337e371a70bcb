"""What cannot be imported is one clear line that says why and what is supported, and leaves nothing behind."""

import gzip
import os
import re

import pytest
import torch

from audiorec.errors import UserError
from audiorec.importing import import_model

from .nemo import GOLDEN, changed, members, saved, weights_of, write

SUPPORTED = "supported: cache-aware streaming FastConformer"


def encoder(**keys):
    return lambda config: config["encoder"].update(keys)


def refusal(source, tmp_path) -> str:
    with pytest.raises(UserError) as error:
        import_model(source, tmp_path / "out")
    assert "\n" not in str(error.value) and str(source) in str(error.value)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]
    return str(error.value)


OFFLINE = {
    "full attention": (
        encoder(att_context_style="regular", att_context_size=[-1, -1]),
        "full attention sees the whole",
    ),
    "no end to the left": (encoder(att_context_size=[-1, 13]), r"att_context_size \[-1, 13\] sees the whole"),
    "batch norm": (encoder(conv_norm_type="batch_norm"), "conv_norm_type batch_norm is not supported, only layer_norm"),
    "convolutions that look ahead": (encoder(conv_context_size=None), "conv_context_size None is not supported"),
    "subsampling that looks ahead": (encoder(causal_downsampling=False), "causal_downsampling False is not supported"),
    "another subsampling": (encoder(subsampling="striding"), "encoder.subsampling striding is not supported"),
    "normalised features": (
        lambda config: config["preprocessor"].update(normalize="per_feature"),
        "normalize per_feature is not supported, only None: features normalised",
    ),
    "other filters than it says": (
        lambda config: config["preprocessor"].update(features=64),
        "the mel filters in the weights",
    ),
    "another encoder": (
        encoder(_target_="nemo.SqueezeformerEncoder"),
        "encoder._target_ SqueezeformerEncoder is not supp",
    ),
    "a stateless predictor": (
        lambda config: config["decoder"].update(_target_="nemo.StatelessTransducerDecoder"),
        "only RNNTDecoder",
    ),
    "a key missing": (
        lambda config: config["encoder"].pop("d_model"),
        "a key is missing or of another type .KeyError: 'd_m",
    ),
    "a section that is a list": (lambda config: config.update(encoder=[1]), "a key is missing or of another type"),
    "an unknown class": (
        lambda config: config.update(target="nemo.EncDecMultiTaskModel"),
        "EncDecMultiTaskModel is not read",
    ),
    "no class": (lambda config: config.pop("target"), "target of no name is not read"),
    "durations": (lambda config: config["loss"].update(loss_name="tdt"), "loss_name tdt is not read"),
}


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_or_unknown_model_says_what_is_supported(name, tmp_path):
    change, complaint = OFFLINE[name]
    message = refusal(changed(tmp_path / "model.nemo", change), tmp_path)
    assert re.search(complaint, message) and SUPPORTED in message


@pytest.mark.parametrize("kept", [0, 100, 5000, 0.5, 0.99])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_file_cut_short(packed, kept, tmp_path):
    content = (GOLDEN / "hybrid.nemo").read_bytes().rstrip(b"\0")
    content = gzip.compress(content) if packed else content
    path = tmp_path / "model.nemo"
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    assert "cut short" in refusal(path, tmp_path)


@pytest.mark.parametrize("name", ["../outside.txt", "/outside.txt", "a/../../outside.txt"])
def test_a_path_outside_its_folder(name, tmp_path):
    path = write(tmp_path / "model.nemo", {**members(), name: b"mine"})
    assert f"{name} leads out of the archive's folder" in refusal(path, tmp_path)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_would_run_code(tmp_path):
    weights = saved({"encoder.weight": torch.zeros(1), "more": Harmful(str(tmp_path / "run"))})
    message = refusal(changed(tmp_path / "model.nemo", **{"model_weights.ckpt": weights}), tmp_path)
    assert "could run code" in message and not (tmp_path / "run").exists()


def test_damaged_weights(tmp_path):
    weights = members()["model_weights.ckpt"]
    message = refusal(
        changed(tmp_path / "model.nemo", **{"model_weights.ckpt": weights[: len(weights) // 2]}), tmp_path
    )
    assert "model_weights.ckpt: damaged" in message


def test_a_missing_tokenizer(tmp_path):
    name = next(name for name in members() if name.endswith("tokenizer.model"))
    assert f"{name} is missing" in refusal(changed(tmp_path / "model.nemo", **{name: None}), tmp_path)

    def nameless(config: dict) -> None:
        config.pop("tokenizer")
        config.pop("labels")
        config["joint"].pop("vocabulary")

    assert "neither a tokenizer nor labels" in refusal(changed(tmp_path / "model.nemo", nameless), tmp_path)
    assert "no sound sentencepiece" in refusal(changed(tmp_path / "model.nemo", **{name: b"\x0a\xff"}), tmp_path)


def test_weights_that_are_not_the_configs(tmp_path):
    weights = weights_of()
    gone = {name: tensor for name, tensor in weights.items() if "layers.1.norm_out" not in name}
    more = weights | {"encoder.layers.0.adapter.weight": torch.zeros(2)}
    for change, complaint in ((gone, "encoder.layer1.norm.bias is missing"), (more, "adapter.weight has no place")):
        path = changed(tmp_path / "model.nemo", **{"model_weights.ckpt": saved(change)})
        assert complaint in refusal(path, tmp_path)
    path = changed(tmp_path / "model.nemo", encoder(n_heads=3))
    assert r"by its own config it is (3, 8)" in refusal(path, tmp_path)


def test_no_such_source_and_a_folder_that_is_taken(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.nemo", tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="exists and is no model folder"):
        import_model(GOLDEN / "hybrid.nemo", tmp_path / "taken")
    assert (tmp_path / "taken" / "notes.txt").read_text() == "mine"
