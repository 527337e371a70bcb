"""`audiorec config …`: the settings of a recipe."""

import json
from pathlib import Path
from typing import Annotated

import typer

from audiorec.cli.app import app

config_app = typer.Typer(help="Settings of a recipe.", no_args_is_help=True)
app.add_typer(config_app, name="config")


@config_app.command()
def get(
    recipe: Annotated[Path, typer.Argument(help="A recipe, or the config.yaml of a run.")],
    settings: Annotated[
        list[str] | None, typer.Argument(help="Keys to print, such as encoder.dim; settings as key.key=value.")
    ] = None,
) -> None:
    """Print the values of keys, one a line (nothing for null, JSON for lists and mappings), or all settings as YAML."""
    from audiorec.config import dump_yaml, get_setting, load_config
    from audiorec.models import is_language
    from audiorec.training.config import RunConfig
    from audiorec.training.language import LanguageRunConfig

    keys = [setting for setting in settings or [] if "=" not in setting]
    schema = LanguageRunConfig if is_language(recipe) else RunConfig
    config = load_config(schema, recipe, [setting for setting in settings or [] if "=" in setting])
    if not keys:
        print(dump_yaml(config), end="")
    for key in keys:
        print(_line(get_setting(config, key)))


@config_app.command()
def keys(part: Annotated[str, typer.Argument(help="Only keys that begin with this, such as trainer.")] = "") -> None:
    """Print every key of a recipe: what it accepts, its default, what it means; kinds of installed plugins are among them."""
    from audiorec.errors import ConfigError
    from audiorec.training.keys import recipe_sections

    sections = [section for section in recipe_sections() if any(key.name.startswith(part) for key in section.keys)]
    if not sections:
        raise ConfigError(f"{part}: no key begins with this; `audiorec config keys` prints them all")
    for section in sections:
        print(f"\n{section.title}")
        for key in section.keys:
            if key.name.startswith(part):
                default = "required" if key.default is None else f"default {key.default}" if key.default else ""
                print(f"  {key.name}: {'; '.join(filter(None, [key.accepts, default, key.description]))}")


def _line(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
