"""Configuration: overrides, and errors that name the key and what it accepts."""

import re
import sys

import pytest

from audiorec.config import Config, Registry, dump_yaml, get_setting, load_config, load_plugins, parse
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
        ("heads={rnnt: {}}", r"heads\.kind: unknown kind 'rnnt'; it accepts classify, ctc, frames, transducer"),
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


@pytest.mark.parametrize("change", ["encoder.kind=mamba", "heads.transducer.loss.kind=full"])
def test_another_kind_replaces_the_keys_of_the_former_or_says_how(change):
    recipe = ROOT / "recipes" / ("conformer_rnnt.yaml" if change.startswith("heads") else "conformer_ctc.yaml")
    part, _, kind = change.replace(".kind=", " ").partition(" ")
    whole = f"{part}={{kind: {kind}}}"
    with pytest.raises(
        ConfigError, match=r"unknown key.*; to drop the keys of kind \w+, replace them all: '(.*)'"
    ) as error:
        load_config(RunConfig, recipe, [change])
    assert str(error.value).endswith(f"'{whole}'") and "\n" not in str(error.value)
    assert get_setting(load_config(RunConfig, recipe, [whole]), f"{part}.kind") == kind


def test_a_setting_is_read_by_its_key():
    config = load_config(RunConfig, RECIPE, ["tokenizer.size=30", "data.strings.clips=[2,3]"])
    assert get_setting(config, "tokenizer.size") == 30 and get_setting(config, "tokenizer.kind") == "bpe"
    assert get_setting(config, "data.strings.clips") == [2, 3] and get_setting(config, "trainer.init_from") is None
    for key, message in [
        ("tokenizer.sise", "tokenizer: accepted here: kind, size, normalize"),
        ("trainr", "config: accepted here: .*trainer"),
        ("encoder.dim.x", "encoder.dim: it is a single value"),
    ]:
        with pytest.raises(ConfigError, match=f"{key}: unknown key; {message}"):
            get_setting(config, key)


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """Two installed plugins: one that breaks at import, and one that registers the kind `mine`."""
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('no\\nlicence')\n")
    (tmp_path / "good_plugin.py").write_text(
        "from typing import Literal\nfrom audiorec.config import Config\nfrom tests.test_config import PARTS\n"
        "@PARTS.register\nclass Mine:\n    class Config(Config):\n        kind: Literal['mine'] = 'mine'\n"
    )
    info = tmp_path / "shop-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[audiorec.plugins]\nbroken = broken_plugin\ngood = good_plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    load_plugins.cache_clear()
    yield
    load_plugins.cache_clear()


PARTS = Registry("part")


def test_a_broken_plugin_is_named_and_does_not_stop_the_others(plugins, caplog):
    caplog.set_level("DEBUG", "audiorec.config")
    broken = r"plugin broken \(broken_plugin\) of package shop 1\.2 cannot be imported: RuntimeError: no licence"
    with pytest.raises(ConfigError, match=rf"part\.kind: unknown kind 'none'; it accepts mine; {broken}"):
        PARTS.find("none")
    PARTS.kinds.clear()
    load_plugins.cache_clear()
    sys.modules.pop("good_plugin")
    caplog.clear()
    assert PARTS.find("mine").__name__ == "Mine"
    levels = {record.levelname: record for record in caplog.records}
    assert levels["DEBUG"].exc_info and re.match(broken, levels["WARNING"].getMessage())


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
