"""Every key of a recipe, from the typed configs: what it accepts, its default, what it means. Kinds of plugins are among them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from audiorec.config import Config, Registry, load_plugins
from audiorec.models.language import LanguageConfig
from audiorec.training.config import RunConfig
from audiorec.training.language import TextConfig

_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path", NoneType: "null"}
_BOUNDS = {"gt": "> ", "ge": "≥ ", "lt": "< ", "le": "≤ ", "multiple_of": "a multiple of "}


@dataclass(frozen=True)
class Key:
    """One setting, as ``name=value`` gives it."""

    name: str
    accepts: str
    default: str | None  # as YAML; None: required
    description: str


@dataclass(frozen=True)
class Section:
    """The keys of one part of a recipe; of a part that has kinds, those of one kind."""

    part: str  # "" is the recipe itself
    kind: str | None = None
    keys: list[Key] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.part or 'recipe'}" + (f", kind: {self.kind}" if self.kind else "")


def recipe_sections() -> list[Section]:
    """All parts of a recipe, in the order of its YAML: a part's kinds, one after another, then the parts within them. What only a
    language model's has comes last."""
    load_plugins()
    return [*sections("", RunConfig), *sections("language", LanguageConfig), *sections("texts", TextConfig)]


def sections(part: str, schema: type[Config]) -> list[Section]:
    """The parts of any config; its keys begin with ``part``, unless that is empty."""
    return list(_sections(part, None, schema, set()))


def _sections(part: str, kind: str | None, schema: type[Config], seen: set[Any]) -> Iterator[Section]:
    section, inner = Section(part, kind), []
    for name, info in schema.model_fields.items():
        path = f"{part}.{name}" if part else name
        registry, config = _find(Registry, info), _find(Config, info)
        if name != "kind" or kind is None:
            accepts, default = _accepts(info.annotation, info.metadata), _default(info, registry)
            section.keys.append(Key(path, accepts, default, info.description or ""))
        if registry and registry not in seen:
            seen.add(registry)
            within = f"{path}.NAME" if get_origin(info.annotation) is dict else path
            inner += [(within, kind, registry.kinds[kind].Config) for kind in sorted(registry.kinds)]
        elif config and not registry and (path, config) not in seen:
            seen.add((path, config))
            inner.append((path, None, config))
    if section.keys:
        yield section
    for path, kind, config in inner:
        yield from _sections(path, kind, config, seen)


def _find(what: type, info: FieldInfo) -> Any:
    """The registry, or the config, that a field's annotation holds at any depth."""
    parts = [info.annotation, *info.metadata]
    while parts:
        part = parts.pop(0)
        owner = getattr(getattr(part, "func", None), "__self__", None)  # Registry.field validates by Registry.parse
        if what is Registry and isinstance(owner, Registry):
            return owner
        if what is Config and isinstance(part, type) and issubclass(part, Config) and part is not Config:
            return part
        parts += [*get_args(part), *getattr(part, "__metadata__", ())]
    return None


def _accepts(annotation: Any, metadata: Any = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _accepts(parts[0], [*parts[1:], *metadata])
    if owner := next((m.func.__self__ for m in metadata if hasattr(getattr(m, "func", None), "__self__")), None):
        return f"one of the kinds {', '.join(sorted(owner.kinds))}"
    if origin is Literal:
        return ", ".join(json.dumps(part) if isinstance(part, bool) else str(part) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_accepts(part, metadata if part is not NoneType else ()) for part in parts)
    bounds = " and ".join(
        f"{sign}{getattr(m, at):g}" for at, sign in _BOUNDS.items() for m in metadata if hasattr(m, at)
    )
    if origin is list:
        return f"list of {_accepts(parts[0])}"
    if origin is tuple:
        return f"[{', '.join(_accepts(part) for part in parts if part is not ...)}{', …' if ... in parts else ''}]"
    if origin is dict:
        return f"mapping of names to {_accepts(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return "mapping, see below"
    return f"{_NAMES.get(annotation, getattr(annotation, '__name__', str(annotation)))} {bounds}".strip()


def _default(info: FieldInfo, registry: Registry | None) -> str | None:
    if info.is_required():
        return None
    value = info.get_default(call_default_factory=True)
    if isinstance(value, Config):
        value = {"kind": value.kind} if hasattr(value, "kind") else {}
    if registry and isinstance(value, dict) and registry.default:
        value = {"kind": registry.default, **value}
    return "" if value == {} else json.dumps(value, default=str, ensure_ascii=False)
