"""Typed configuration: plain YAML in, pydantic models out, dotted overrides, and errors that name the key and what it accepts."""

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, ValidationError

from audiorec.errors import ConfigError, UserError


class Config(BaseModel):
    """Base of every configuration: no unknown keys, no change after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, protected_namespaces=())


C = TypeVar("C", bound=Config)
T = TypeVar("T", bound=Any)
PLUGINS = "audiorec.plugins"
log = logging.getLogger(__name__)


@cache
def load_plugins() -> tuple[str, ...]:
    """Import the module of every entry point in the group ``audiorec.plugins``; returns a line for each that fails.

    The traceback of a failure goes to the logger ``audiorec.config``, level debug.
    """
    failures = []
    for plugin in entry_points(group=PLUGINS):
        try:
            plugin.load()
        except Exception as error:  # whatever a package raises at import
            package = f" of package {plugin.dist.name} {plugin.dist.version}" if plugin.dist else ""
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            failures.append(f"plugin {plugin.name} ({plugin.value}){package} cannot be imported: {reason}")
            log.debug("%s", failures[-1], exc_info=True)
    return tuple(failures)


class Registry:
    """The kinds of one part of a model ("encoder", "heads"), each a class whose inner ``Config`` has a literal ``kind``.

    ``default`` is the kind where a config names none. Installed packages add kinds through the entry-point group
    ``audiorec.plugins``: each entry point names a module whose import registers. They are imported only when a kind is not
    known; a model file can never name code.
    """

    def __init__(self, part: str, default: str | None = None):
        self.part = part
        self.default = default
        self.kinds: dict[str, Any] = {}

    def register(self, cls: T) -> T:
        self.kinds[cls.Config.model_fields["kind"].default] = cls
        return cls

    def find(self, kind: str) -> Any:
        """The class of a kind. Raises ConfigError that names the kinds, and the plugins that cannot be imported."""
        failures = load_plugins() if kind not in self.kinds else ()
        if kind not in self.kinds:
            accepted = ", ".join(sorted(self.kinds))
            raise ConfigError("; ".join([f"{self.part}.kind: unknown kind {kind!r}; it accepts {accepted}", *failures]))
        for failure in failures:
            log.warning("%s", failure)
        return self.kinds[kind]

    def parse(self, value: Any) -> Any:
        """A typed config from a config, a plain dict with ``kind``, or a kind alone."""
        if isinstance(value, Config):
            return value
        if isinstance(value, str):
            value = {"kind": value}
        if self.default and isinstance(value, Mapping):
            value = {"kind": self.default, **value}
        if not isinstance(value, Mapping) or "kind" not in value:
            raise ConfigError(f"{self.part}: needs a mapping with a key `kind`, one of {', '.join(sorted(self.kinds))}")
        return parse(self.find(value["kind"]).Config, value, prefix=self.part)

    def build(self, config: Any, *args: Any, **kwargs: Any) -> Any:
        """The part itself: its class called with the typed config first."""
        config = self.parse(config)
        return self.find(config.kind)(config, *args, **kwargs)

    @property
    def field(self) -> Any:
        """The annotation of a config field that holds any registered kind."""
        return Annotated[Config, PlainValidator(self.parse), PlainSerializer(lambda config: config.model_dump())]


def parse(schema: type[C], value: Any, prefix: str = "", source: str = "") -> C:
    """``value`` as a ``schema``. Raises ConfigError: one line with every fault, the key, and what it accepts."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(_explain(schema, fault, prefix) for fault in error.errors())
        raise ConfigError(f"{source}: {faults}" if source else faults) from None
    except ConfigError as error:
        raise (ConfigError(f"{source}: {error}") if source else error) from None


def read_yaml(path: Path | str) -> Any:
    """The content of a YAML file. Raises UserError when it is missing or no YAML."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None


def load_config(schema: type[C], path: Path | str, overrides: Iterable[str] = ()) -> C:
    """A YAML file with ``key.key=value`` overrides laid over it, as a ``schema``.

    ``encoder.kind=mamba`` changes one key and keeps the others; ``encoder={kind: mamba}`` replaces them all.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must hold a mapping of keys")
    hints = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"override {override!r}: write it as key.key=value")
        try:
            former = _set(value, key.split("."), yaml.safe_load(text))
        except yaml.YAMLError:
            raise ConfigError(f"override {override!r}: the value is not YAML") from None
        part, _, last = key.rpartition(".")
        if part and last == "kind" and former not in (None, text):
            hints[part] = f"to drop the keys of kind {former}, replace them all: '{part}={{kind: {text}}}'"
    try:
        return parse(schema, value, source=str(path))
    except ConfigError as error:
        for part, hint in hints.items():
            # A nested registry names its own part alone: loss.warmup, not heads.transducer.loss.warmup.
            if f"{part.rpartition('.')[2]}." in str(error) and "unknown key" in str(error):
                raise ConfigError(f"{error}; {hint}") from None
        raise


def get_setting(config: Config, key: str) -> Any:
    """The plain value of a dotted key (``encoder.dim``): a scalar, a list or a dict. Raises ConfigError for no such key."""
    value = config.model_dump(mode="json")
    for depth, name in enumerate(parts := key.split(".")):
        if not isinstance(value, dict) or name not in value:
            accepted = f"accepted here: {', '.join(value)}" if isinstance(value, dict) else "it is a single value"
            where = ".".join(parts[:depth]) or "config"
            raise ConfigError(f"{key}: unknown key; {where}: {accepted}")
        value = value[name]
    return value


def dump_yaml(config: Config | Mapping) -> str:
    value = config.model_dump(mode="json") if isinstance(config, Config) else dict(config)
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)


def _set(tree: dict, keys: list[str], value: Any) -> Any:
    """Set the value at a path of keys; returns the former one."""
    for depth, key in enumerate(keys[:-1], 1):
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"override {'.'.join(keys)}: {'.'.join(keys[:depth])} is a single value, not a mapping")
    former = tree.get(keys[-1])
    tree[keys[-1]] = value
    return former


def _explain(schema: type[Config], fault: Mapping[str, Any], prefix: str) -> str:
    keys = [str(part) for part in fault["loc"]]
    where = ".".join([prefix, *keys] if prefix else keys) or "config"
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; accepted here: {', '.join(_fields(schema, keys[:-1]))}"
    if fault["type"] == "missing":
        return f"{where}: is required"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}, got {fault['input']!r}"


def _fields(schema: type[Config], keys: list[str]) -> list[str]:
    """The keys a nested config accepts."""
    for key in keys:
        candidates = _models(schema.model_fields[key].annotation) if key in schema.model_fields else []
        schema = candidates[0] if candidates else schema
    return list(schema.model_fields)


def _models(annotation: Any) -> list[type[Config]]:
    if parts := get_args(annotation):  # first: Python 3.10 takes list[int] for a type
        return [model for part in parts for model in _models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Config) else []
