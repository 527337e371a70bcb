"""Features by kind: log-mel is the default, as it was when there was no other, and plugins add theirs."""

import pytest
import torch

from audiorec.audio.features import FEATURES
from audiorec.audio.logmel import LogMel, LogMelConfig
from audiorec.config import Config, dump_yaml
from audiorec.errors import ConfigError
from audiorec.models import AsrModel
from audiorec.models.config import ModelConfig, load_model_config

REST = "encoder: {kind: lstm, dim: 8, layers: 1}\nheads: ctc\ntokenizer: {kind: char}\n"


def load(folder, features: str, overrides=()) -> ModelConfig:
    (folder / "config.yaml").write_text(features + REST)
    return load_model_config(folder / "config.yaml", overrides)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", LogMelConfig()),
        ("features: {bins: 40}\n", LogMelConfig(bins=40)),
        ("features: {sample_rate: 8000, bins: 40}\n", LogMelConfig(sample_rate=8000, bins=40)),
        ("features:\n  kind: log_mel\n  sample_rate: 8000\n  bins: 40\n", LogMelConfig(sample_rate=8000, bins=40)),
        ("features: log_mel\n", LogMelConfig()),
    ],
    ids=["none", "recipe", "digits", "model", "kind"],
)
def test_configs_written_before_there_were_kinds_load_as_they_did(tmp_path, written, expected):
    config = load(tmp_path, written)
    assert config.features == expected
    model = AsrModel(config, 5)
    assert isinstance(model.features, LogMel) and model.sample_rate == expected.sample_rate
    assert load(tmp_path, dump_yaml({"features": config.features.model_dump()})).features == expected
    assert (
        load(tmp_path, written if "\n  " in written or "{" in written else "", ["features.bins=23"]).features.bins == 23
    )


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("features: {bin: 40}\n", r"features\.bin: unknown key; accepted here: kind, sample_rate, bins"),
        ("features: {bins: many}\n", r"features\.bins: .*got 'many'"),
        ("features: {kind: mfcc}\n", r"features\.kind: unknown kind 'mfcc'; it accepts log_mel, nemo"),
    ],
)
def test_a_fault_names_its_key(tmp_path, written, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path, written)


def test_a_registered_kind_is_what_the_model_reads(tmp_path, monkeypatch):
    class HalfConfig(Config):
        kind: str = "half_bins"
        sample_rate: int = 8000

    class Half(LogMel):
        Config = HalfConfig

        def __init__(self, config):
            super().__init__(LogMelConfig(sample_rate=config.sample_rate, bins=20))

    monkeypatch.setattr(FEATURES, "kinds", dict(FEATURES.kinds))
    FEATURES.register(Half)
    model = AsrModel(load(tmp_path, "features: half_bins\n"), 5).eval()
    assert isinstance(model.features, Half) and model.sample_rate == 8000
    frames, lengths = model(torch.zeros(1, 8000), torch.tensor([8000]))
    assert frames.shape[1] == int(lengths) > 0
