"""Configuration: overrides, and errors that name the key and what it accepts."""

import pytest

from audiorec.config import Config, dump_yaml, load_config, parse
from audiorec.errors import ConfigError, UserError
from audiorec.training.config import RunConfig
from tests.conftest import ROOT

RECIPE = ROOT / "recipes" / "lstm_ctc.yaml"


def test_overrides_are_typed_and_a_config_survives_its_yaml(tmp_path):
    given = ["encoder.dim=32", "data.strings.clips=[2, 3]", "augment.gain_db=[-3,3]", "heads={ctc: {weight: 0.5}}"]
    config = load_config(RunConfig, RECIPE, given)
    assert config.encoder.dim == 32 and config.data.strings.clips == (2, 3) and config.heads["ctc"].weight == 0.5
    (tmp_path / "copy.yaml").write_text(dump_yaml(config))
    assert load_config(RunConfig, tmp_path / "copy.yaml") == config


@pytest.mark.parametrize(
    "override, message",
    [
        ("encoder.dmi=3", r"encoder\.dmi: unknown key; accepted here: .*kind, dim, layers"),
        ("encoder.dim=wide", r"encoder\.dim: .*integer.*'wide'"),
        ("encoder.dropout=1.5", r"encoder\.dropout: .*less than 1"),
        ("encoder.kind=lsmt", r"encoder\.kind: unknown kind 'lsmt'; it accepts .*lstm"),
        ("heads={rnnt: {}}", r"heads\.kind: unknown kind 'rnnt'; it accepts classify, ctc, transducer"),
        ("tokenizer.normalize.cse=lower", r"tokenizer\.normalize\.cse: unknown key; accepted here: case"),
        ("trainer.precision=fp8", r"trainer\.precision: .*'auto', 'fp32' or 'bf16'"),
        ("trainer.max_epochs", r"override 'trainer\.max_epochs': write it as key"),
        ("encoder.dim.x=3", r"encoder\.dim is a single value"),
        ("encoder=[", r"not YAML"),
    ],
)
def test_what_does_not_fit_is_named(override, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_config(RunConfig, RECIPE, [override])
    assert "\n" not in str(error.value)


def test_files_that_are_no_config(tmp_path):
    path = tmp_path / "a.yaml"
    with pytest.raises(UserError, match="no such file"):
        load_config(RunConfig, path)
    for content, message in [(b"a: [", "not YAML"), (b"- 1", "mapping"), (b"a: \xff", "UTF-8")]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as error:
            load_config(RunConfig, path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_required_keys():
    class Needs(Config):
        size: int

    with pytest.raises(ConfigError, match="size: is required"):
        parse(Needs, {})
