"""Train, save and load tokenizers of any kind."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from audiorec.config import dump_yaml, parse, read_yaml
from audiorec.errors import ConfigError, UserError
from audiorec.files import write_text
from audiorec.text.normalize import Normalizer
from audiorec.text.registry import TOKENIZERS, TokenizerConfig
from audiorec.text.tokenizer import Tokenizer, training_words

SETTINGS = "tokenizer.yaml"


def train_tokenizer(config: TokenizerConfig | str, texts: Iterable[str], size: int | None = None) -> Tokenizer:
    """Train a tokenizer on texts, normalised as its config says; the same texts give the same tokenizer.

    ``config`` is a typed config, or a kind alone, which ``size`` goes with. The size counts all pieces, ``<blk>`` and
    ``<unk>`` included: char and word keep the most frequent, bpe and unigram have exactly as many. Without a size char and
    word keep all pieces; bpe and unigram have 500, or the largest number that the text allows. ``phone`` has the phones of its
    config's lexicon.

    Raises ConfigError for an unknown kind, UserError for no text or a size that the text does not allow.
    """
    parsed: TokenizerConfig = TOKENIZERS.parse({"kind": config, "size": size} if isinstance(config, str) else config)
    lines = training_words(parsed.normalize(text) for text in texts)
    if not lines:
        raise UserError("tokenizer: there is no text to train on; give it transcripts that hold words")
    return TOKENIZERS.find(parsed.kind).train(lines, parsed)


def save_tokenizer(folder: Path | str, tokenizer: Tokenizer, config: TokenizerConfig) -> None:
    """Write a tokenizer and its settings (``tokenizer.yaml``), which ``load_tokenizer`` compares."""
    tokenizer.save(folder)
    write_text(Path(folder) / SETTINGS, dump_yaml(config))


def load_tokenizer(folder: Path | str, config: TokenizerConfig | None = None) -> Tokenizer:
    """The tokenizer in a folder; its file tells its kind. With a ``config``, of a recipe, it must be of these settings.

    A size that the config leaves open fits any. Raises UserError when the folder has none or the file is damaged,
    ConfigError when kind, size or normalisation are not the config's.
    """
    folder = Path(folder)
    loaders = {cls.file: cls.load for cls in TOKENIZERS.kinds.values()}
    for file, load in loaders.items():
        if (folder / file).exists():
            tokenizer = load(folder / file)
            break
    else:
        raise UserError(
            f"{folder}: no tokenizer here (neither {' nor '.join(loaders)}); make one by `audiorec tokenizer`"
        )
    if config:
        _compare(folder, tokenizer, config)
    return tokenizer


def describe_size(tokenizer: Tokenizer, config: TokenizerConfig) -> str:
    """``bpe, 500 pieces``, and where the size is a default one, that it is."""
    text = f"{tokenizer.kind}, {tokenizer.size} pieces"
    if config.size is None and tokenizer.default_size:
        text += (
            f" (tokenizer.size is not set: {tokenizer.default_size}, or fewer where the text does not allow as many)"
        )
    return text


def _compare(folder: Path, tokenizer: Tokenizer, config: TokenizerConfig) -> None:
    actual: dict[str, Any] = {"kind": tokenizer.kind}
    wanted: dict[str, Any] = {"kind": config.kind}
    if config.size is not None:
        actual["size"], wanted["size"] = tokenizer.size, config.size
    normalize = load_normalizer(folder)
    if normalize is not None:
        for key in Normalizer.model_fields:
            actual[f"normalize.{key}"] = getattr(normalize, key)
            wanted[f"normalize.{key}"] = getattr(config.normalize, key)
    for key, value in wanted.items():
        if actual[key] != value:
            raise ConfigError(
                f"{folder}: this tokenizer has tokenizer.{key}={_yaml(actual[key])}, the recipe has {_yaml(value)}; "
                f"make it anew by `audiorec tokenizer --recipe`, or give tokenizer.{key}={_yaml(actual[key])}"
            )


def load_normalizer(folder: Path) -> Normalizer | None:
    """The normalisation of a tokenizer's folder, or of a model's; None where neither file tells it."""
    if (path := folder / SETTINGS).exists():
        content = read_yaml(path)
    elif (path := folder / "config.yaml").exists():
        content = read_yaml(path).get("tokenizer")
    else:
        return None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds no settings of a tokenizer")
    return parse(Normalizer, content.get("normalize", {}), prefix="tokenizer.normalize", source=str(path))


def _yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
