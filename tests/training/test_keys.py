"""The keys of a recipe are all there, as a recipe takes them, and each says what it means."""

from typer.testing import CliRunner

from audiorec.cli import app
from audiorec.config import load_config
from audiorec.training.config import RunConfig
from audiorec.training.keys import recipe_sections
from tests.conftest import ROOT


def flat(value: object, path: str = "") -> dict[str, object]:
    """Dotted keys and their values; a head's is under NAME."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    parts = {("NAME" if path == "heads" else key): inner for key, inner in value.items()}
    return {
        key: leaf for name, inner in parts.items() for key, leaf in flat(inner, f"{path}.{name}".strip(".")).items()
    }


def test_every_key_of_every_recipe_is_printed():
    printed = {(section.kind, key.name): key for section in recipe_sections() for key in section.keys}
    names = {name for _, name in printed}
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        keys = flat(load_config(RunConfig, recipe).model_dump(mode="json"))
        assert not {key for key in keys if not key.endswith("kind")} - names, recipe
    theta = printed["lmu", "encoder.theta"]
    assert (theta.accepts, theta.default) == ("list of number", "[0.8]")
    assert printed[None, "encoder"].default is None and "lstm, mamba" in printed[None, "encoder"].accepts
    assert printed["lstm", "encoder.dropout"].accepts == "number ≥ 0 and < 1"
    assert printed["stateless", "heads.NAME.predictor.dim"].accepts == "integer > 0 and a multiple of 4"
    assert printed[None, "trainer.patience"].accepts == "integer > 0 or null"
    assert printed[None, "tokenizer"].default == '{"kind": "bpe"}'


def test_every_key_says_what_it_means_once():
    sections = recipe_sections()
    assert len({(section.part, section.kind) for section in sections}) == len(sections) > 40
    assert not [key.name for section in sections for key in section.keys if not key.description]


def test_the_command_prints_them():
    printed = CliRunner().invoke(app, ["config", "keys", "trainer.lora"]).output
    assert "trainer.lora.rank: integer > 0; default 8; of the product" in printed and "optimizer" not in printed
    assert CliRunner().invoke(app, ["config", "keys", "trainr"]).exit_code != 0
