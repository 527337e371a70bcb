"""The documentation: `make docs` builds it into docs/_build/html; a broken link or any other warning ends the build."""

from pathlib import Path

from audiorec import __version__
from audiorec.search import SearchConfig
from audiorec.training.keys import Key, recipe_sections, sections
from audiorec.transcript import EndpointConfig

project, author, version = "audiorec", "The audiorec authors", __version__
project_copyright = "the audiorec authors, Apache License 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "audiorec"

myst_heading_anchors = 3
default_role = "code"  # docstrings say `audiorec decode`
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

KEYS = """# Keys of a recipe

Every setting there is, generated from the code. `key=value` sets one: `audiorec train recipes/lstm_ctc.yaml encoder.dim=256`.
`encoder.kind=mamba` changes the kind alone, `encoder={kind: mamba}` drops the keys of the former kind too. `heads.NAME` is a
head by its name, which is its kind unless you give it another. `audiorec config keys` prints this in a terminal, with the
kinds of your plugins. The last two parts are in no recipe: `audiorec.load(search={…}, endpoint={…})` takes them, and commands
that recognise have them as options.
"""


def row(key: Key) -> str:
    default = "required" if key.default is None else f"`{key.default}`" if key.default else ""
    cells = [text.replace("|", r"\|") for text in (f"`{key.name}`", key.accepts, default, key.description)]
    return f"| {' | '.join(cells)} |"


def keys_page() -> str:
    parts = [KEYS]
    for section in [*recipe_sections(), *sections("search", SearchConfig), *sections("endpoint", EndpointConfig)]:
        parts.append(f"\n## {section.title}\n\n| key | accepts | default | |\n|---|---|---|---|\n")
        parts += [row(key) + "\n" for key in section.keys]
    return "".join(parts)


Path(__file__).with_name("recipe_keys.md").write_text(keys_page(), encoding="utf-8")
