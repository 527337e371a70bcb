"""A small recogniser of every search, with random weights that say something, for the laws of live streams."""

import audiorec
from audiorec.config import parse
from audiorec.models import AsrModel, ModelConfig, delay_name
from audiorec.search import SearchConfig, build_automata
from audiorec.text import Normalizer, train_tokenizer
from audiorec.transcript import Delay
from tests.conftest import TINY, WORDS
from tests.models.test_heads import make, sharpen

DELAY = Delay(begin=(-0.5, -0.3, -0.1), end=(-0.1, 0.0, 0.2), tail=0.23)
HOTWORDS = {"kind": "beam", "hotwords": ("seven nine", "one"), "hotwords_score": 2.0}
# encoder, head, search
SETUPS = {
    "ctc": ("lstm", "ctc", {}),
    "ctc, look-ahead": ("conformer", "ctc", {}),
    "ctc beam with hotwords": ("lstm", "ctc", HOTWORDS),
    "rnnt": ("lstm", "full", {}),
    "rnnt, mamba": ("mamba", "full", {}),
    "one symbol a frame": ("lstm", "modified", {}),
    "beam": ("conformer", "modified", {"kind": "beam"}),
    "tdt": ("lstm", "tdt", {}),
    "blanks skipped": ("lstm", "hybrid", {"skip_blank": 0.9}),
    "classify": ("lstm", "classify", {}),
}


def build(name: str, speech, endpoint=None) -> audiorec.Recognizer:
    """The recogniser of this name, sharpened on ``speech`` at 8 kHz."""
    encoder, head, search = SETUPS[name]
    tokenizer = train_tokenizer("word", [WORDS])
    if head == "classify":
        model = AsrModel(parse(ModelConfig, {**TINY, "heads": head}), tokenizer.size)
    else:
        model, _ = make(encoder, head)
        sharpen(model, speech[8000:24000])
    config = parse(SearchConfig, search)

    automata = build_automata(config, tokenizer, Normalizer())
    kind = next(iter(model.heads))
    return audiorec.Recognizer(
        model, tokenizer, None, config, automata, {delay_name(kind, model.look_ahead_ms): DELAY}, endpoint
    )
