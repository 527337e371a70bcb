"""Where tokenisers come from: a text, or a folder."""

from collections.abc import Iterable
from pathlib import Path

from audiorec.errors import ConfigError, UserError
from audiorec.text.subword import load_subword, train_subword
from audiorec.text.table import load_table, train_table
from audiorec.text.tokenizer import Tokenizer, training_words

TRAIN = {"char": train_table, "word": train_table, "bpe": train_subword, "unigram": train_subword}
LOAD = {"tokenizer.model": load_subword, "tokens.txt": load_table}
KINDS = tuple(TRAIN)


def train_tokenizer(kind: str, texts: Iterable[str], size: int | None = None) -> Tokenizer:
    """Train a tokeniser on (normalised) texts; the same texts give the same tokeniser.

    ``size`` counts all pieces, ``<blk>`` and ``<unk>`` included; bpe and unigram need it, char and word keep the most
    frequent. Raises ConfigError for an unknown kind, UserError for no text or a size that the text does not allow.
    """
    if kind not in TRAIN:
        raise ConfigError(f"tokenizer.kind: unknown kind {kind!r}; it accepts {', '.join(KINDS)}")
    lines = training_words(texts)
    if not lines:
        raise UserError("tokenizer: there is no text to train on; give it transcripts that hold words")
    return TRAIN[kind](kind, lines, size)


def load_tokenizer(folder: Path | str) -> Tokenizer:
    """The tokeniser that ``save`` wrote into a folder: ``tokenizer.model``, else ``tokens.txt``; they tell their kind.

    Raises UserError when the folder has neither or the file is damaged.
    """
    for name, load in LOAD.items():
        path = Path(folder) / name
        if path.exists():
            return load(path)
    raise UserError(f"{folder}: no tokenizer here (neither {' nor '.join(LOAD)}); make one by `audiorec tokenizer`")
