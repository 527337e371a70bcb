"""Patterns that name parts of a model: ``encoder.layer[0-11]``, ``heads.*.joiner``.

``*`` is any text, ``[a-b]`` any whole number from a to b. A pattern names weights, or modules and so all weights in them.
"""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from torch import nn

from audiorec.errors import ConfigError

_WILD = re.compile(r"\[(\d+)-(\d+)\]|\*")
_NEAREST = 3  # names that an error tells


def named_by(patterns: Sequence[str], names: Iterable[str], model: nn.Module, key: str) -> list[str]:
    """Those of the ``names`` of weights that a pattern names, in their order.

    Raises ConfigError at ``key`` for a pattern that names none of them, with the nearest names in ``model``.
    """
    names, found = list(names), set()
    for pattern in patterns:
        wanted = _compiled(pattern, key)
        matching = {name for name in names if wanted.fullmatch(name)}
        if not matching:
            raise ConfigError(f"{key}: {pattern!r} names nothing here; {_nearest(pattern, names, model)}")
        found |= matching
    return [name for name in names if name in found]


def _compiled(pattern: str, key: str) -> re.Pattern[str]:
    parts, end = [], 0
    for wild in _WILD.finditer(pattern):
        parts.append(re.escape(pattern[end : wild.start()]))
        end = wild.end()
        if wild[0] == "*":
            parts.append(".*")
            continue
        first, last = int(wild[1]), int(wild[2])
        if first > last:
            raise ConfigError(f"{key}: {pattern!r} has no number in {wild[0]}; write the smaller one first")
        parts.append(f"(?:{'|'.join(map(str, range(first, last + 1)))})")
    return re.compile("".join([*parts, re.escape(pattern[end:])]) + r"(?:\..+)?", re.DOTALL)


def _nearest(pattern: str, names: list[str], model: nn.Module) -> str:
    modules = [name for name, _ in model.named_modules() if any(one.startswith(f"{name}.") for one in names)]
    plain = _WILD.sub(lambda wild: wild[1] or "", pattern).strip(".")
    nearest = get_close_matches(plain, [*modules, *names], _NEAREST, 0.3)
    return (
        f"near it are {', '.join(nearest)}" if nearest else f"there are {', '.join(n for n in modules if '.' not in n)}"
    )
