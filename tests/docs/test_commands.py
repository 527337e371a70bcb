"""Every `audiorec` command on a page is one that there is, with options that it has."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from audiorec.cli import app
from tests.conftest import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs/guide").glob("*.md"),
    *(ROOT / "egs").glob("*/README.md"),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def commands(text: str) -> list[list[str]]:
    """The words of each command in the fences of a page, and of those between backticks."""
    lines = re.findall(r"(?<!`)`(audiorec [^`]+)`(?!`)", FENCE.sub("", text))
    for language, block in FENCE.findall(text):
        if language not in ("python", "json", "yaml", "toml"):
            lines += [line for line in block.replace("\\\n", " ").splitlines() if not line.endswith("# planned")]
    words = [word for line in lines for word in [*split(line), "|"]]
    found, start = [], 0
    for end in (i for i, word in enumerate(words) if word in ("|", "&&", ";")):
        if words[start:end][:1] == ["audiorec"]:
            found.append(words[start + 1 : end])
        start = end + 1
    return found


def split(line: str) -> list[str]:
    """The words of a line of shell; brackets around what may be left out are no words."""
    try:
        return shlex.split(re.sub(r"(?<=\s)\[(?=-)|(?<=\S)\](?=\s|$)", "", line), comments=True)
    except ValueError:  # prose
        return []


def fault(words: list[str]) -> str | None:
    """What is wrong with a command: a name that there is not, or an option."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            break
        names = words[0].split("|")
        if missing := [name for name in names if name not in command.commands]:
            return None if re.match(r"\W", words[0]) else f"no command {', '.join(missing)}"
        command, words = command.commands[names[0]], words[1:]
    known = {"--help"}.union(*([*parameter.opts, *parameter.secondary_opts] for parameter in command.params))
    wrong = [word for word in words if re.match(r"--\w", word) and word.partition("=")[0] not in known]
    return f"{command.name} has no {', '.join(wrong)}" if wrong else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_pages_commands_are_there(page: Path):
    found = commands(page.read_text(encoding="utf-8"))
    assert not [f"audiorec {' '.join(words)}: {wrong}" for words in found if (wrong := fault(words))]


def test_commands_are_read_and_checked():
    page = "Say `audiorec decod x`.\n```\naudiorec train R \\\n  --vaild D [--out X] # no\nmake | audiorec info\n```\n"
    assert [fault(words) for words in commands(page)] == ["no command decod", "train has no --vaild", None]
    assert len([words for page in PAGES for words in commands(page.read_text(encoding="utf-8"))]) > 80
