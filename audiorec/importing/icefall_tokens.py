"""icefall's tokens, from ``bpe.model`` or ``tokens.txt``: blank, start and end of a sentence, unknown, then the pieces."""

from pathlib import Path

from audiorec.errors import UserError
from audiorec.importing.sentencepiece import made_of
from audiorec.text.subword import SubwordTokenizer, is_unigram

BLANK, UNKNOWN = "<blk>", "<unk>"
BPE, TABLE = "bpe.model", "tokens.txt"
Pieces = list[tuple[str, float]]  # and what sentencepiece ranks them by


def read_tokens(checkpoint: Path, count: int) -> tuple[SubwordTokenizer, list[int]]:
    """The tokenizer of a checkpoint with so many tokens, and icefall's ids in its order: blank, unknown, the others.

    The files lie beside the checkpoint, or in ``data/lang_…`` beside its folder. Raises UserError naming the file at fault.
    """
    source = _find(checkpoint)
    pieces, unigram = _of_model(source) if source.suffix == ".model" else (_of_table(source), False)
    names = [piece for piece, _ in pieces[:count]]  # a table has symbols for graphs after the tokens
    if len(names) < count:
        raise UserError(f"{source}: has {len(names)} tokens, {checkpoint.name} has {count}: not of one model")
    if names[0] != BLANK or UNKNOWN not in names:
        raise UserError(f"{source}: must begin with {BLANK} and hold {UNKNOWN}, as icefall's do")
    unknown = names.index(UNKNOWN)
    order = [0, unknown, *(i for i in range(1, count) if i != unknown)]
    return made_of([pieces[i] for i in order[1:]], unigram, str(source)), order


def _find(checkpoint: Path) -> Path:
    home = checkpoint.parent
    for name in (BPE, TABLE):
        for folder in (home, home.parent):
            found = sorted([*folder.glob(name), *folder.glob(f"data/lang_*/{name}")])
            if len(found) > 1:
                raise UserError(
                    f"{folder}: has several tokens: {', '.join(map(str, found))}; put one beside {checkpoint.name}"
                )
            if found:
                return found[0]
    raise UserError(
        f"{checkpoint}: neither {BPE} nor {TABLE} beside it or in data/lang_…: put one there, so that tokens have text"
    )


def _of_model(path: Path) -> tuple[Pieces, bool]:
    """Its pieces, and whether it is a unigram model."""
    from sentencepiece import SentencePieceProcessor

    try:
        processor = SentencePieceProcessor(model_proto=path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: no sound sentencepiece model ({' '.join(str(error).split())})") from None
    ids = range(processor.get_piece_size())
    return [(processor.id_to_piece(i), processor.get_score(i)) for i in ids], is_unigram(processor)


def _of_table(path: Path) -> Pieces:
    """The pieces of lines ``piece id``; those of BPE stand in the order of their merges, so that the earlier rank higher."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    pieces = []
    for number, line in enumerate(lines):
        fields = line.split()
        if len(fields) != 2 or fields[1] != str(number):
            raise UserError(f"{path}: line {number + 1}: expected `piece {number}`, got {line!r}")
        pieces.append((fields[0], -float(number)))
    return pieces
