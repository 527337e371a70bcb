"""A small recogniser of every search, with random weights that say something, for the laws of live streams."""

from pathlib import Path

import audiorec
from audiorec.config import parse
from audiorec.models import AsrModel, ModelConfig, delay_name
from audiorec.search import SearchConfig, build_automata, build_words
from audiorec.text import Normalizer, train_tokenizer
from audiorec.transcript import Delay
from tests.conftest import TINY, WORDS
from tests.models.test_heads import make, sharpen
from tests.search.searches import fusion

DELAY = Delay(begin=(-0.5, -0.3, -0.1), end=(-0.1, 0.0, 0.2), tail=0.23)
HOTWORDS = {"kind": "beam", "hotwords": ("seven nine", "one"), "hotwords_score": 2.0}
LEXICON = Path(__file__).with_name("lexicon.txt")
# encoder, head, search
SETUPS = {
    "ctc": ("lstm", "ctc", {}),
    "ctc, look-ahead": ("conformer", "ctc", {}),
    "ctc beam with hotwords": ("lstm", "ctc", HOTWORDS),
    "ctc, words": (
        "lstm",
        "ctc",
        {"kind": "beam", "beam": 8, "lexicon": LEXICON, "unk_score": -0.7, "word_bonus": 0.5},
    ),
    "ctc beam, fused": ("lstm", "ctc", {"kind": "beam", "fuse": "lm"}),
    "rnnt": ("lstm", "full", {}),
    "rnnt, mamba": ("mamba", "full", {}),
    "one symbol a frame": ("lstm", "modified", {}),
    "beam": ("conformer", "modified", {"kind": "beam"}),
    "tdt": ("lstm", "tdt", {}),
    "blanks skipped": ("lstm", "hybrid", {"skip_blank": 0.9}),
    "classify": ("lstm", "classify", {}),
    "frames": ("lstm", "frames", {}),
}


def build(name: str, speech, endpoint=None) -> audiorec.Recognizer:
    """The recogniser of this name, sharpened on ``speech`` at 8 kHz."""
    encoder, head, search = SETUPS[name]
    tokenizer = train_tokenizer("word", [WORDS])
    if head in ("classify", "frames"):
        model = AsrModel(parse(ModelConfig, {**TINY, "heads": head}), tokenizer.size)
    else:
        model, _ = make(encoder, head)
    if head != "classify":
        sharpen(model, speech[8000:24000])
    config = parse(SearchConfig, search)
    normalize = Normalizer()
    words = build_words(config, tokenizer, normalize)
    automata = build_automata(config, tokenizer, normalize, words)
    delays = {delay_name(next(iter(model.heads)), model.look_ahead_ms): DELAY}
    helpers = words, None, fusion(tokenizer.size) if config.fuse else None
    return audiorec.Recognizer(model, tokenizer, None, config, automata, delays, endpoint, normalize, *helpers)
