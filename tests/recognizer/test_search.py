"""A recogniser with a beam: the laws of streams hold, and what comes with a beam comes out."""

import numpy as np
import pytest
import torch

import audiorec
from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.models import LanguageModel, LanguageModelConfig, save_model
from audiorec.text import load_tokenizer, train_tokenizer

HELPED = {"kind": "beam", "beam": 6, "hotwords": ["seven nine", "one"], "hotwords_score": 2.0}


@pytest.fixture(scope="module")
def recognizer(model_dir):
    return audiorec.load(model_dir, search=HELPED)


def test_live_is_offline_and_loses_nothing(recognizer, speech):
    samples = speech[: 8 * 8000]
    whole = recognizer.transcribe_batch([samples, samples[:9001]])[0]
    for size in (700, 5000):
        stream = recognizer.stream()
        for start in range(0, len(samples), size):
            stream.accept(samples[start : start + size])
        partial, result = stream.partial(), stream.finish()
        assert result.segments == whole.segments and result.nbest == whole.nbest
        assert result.margin == pytest.approx(whole.margin, abs=1e-4)
        assert len(partial.words) > len(result.words) - 3, "what is not committed shows too"
    assert len(whole.words) > 3


def test_n_best_and_confidence(recognizer, model_dir, speech):
    result = recognizer.transcribe(speech[: 4 * 8000])
    texts = [one.text for one in result.nbest]
    assert 1 < len(texts) == len(set(texts)) <= 6 and texts[0] == result.text
    scores = [one.score for one in result.nbest]
    assert scores[0] == 0 and scores == sorted(scores, reverse=True)
    greedy = audiorec.load(model_dir).transcribe(speech[: 4 * 8000])
    assert [one.text for one in greedy.nbest] == [greedy.text]
    for pieces in (result.words, result.tokens, greedy.words):
        confidences = np.array([piece.confidence for piece in pieces])
        assert ((confidences > 0) & (confidences <= 1)).all() and confidences.min() < 0.95


def test_hotwords_raise_what_they_name(recognizer, model_dir, speech):
    plain = audiorec.load(model_dir, search={"kind": "beam", "beam": 6}).transcribe(speech).text
    assert recognizer.transcribe(speech).text.count("seven nine") > plain.count("seven nine")


@torch.no_grad()
def test_a_language_model_of_the_same_pieces_steers_the_beam(model_dir, tmp_path, speech):
    torch.manual_seed(0)
    tokenizers = load_tokenizer(model_dir), train_tokenizer("char", ["one two"])
    for name, tokenizer in zip(("lm", "other"), tokenizers, strict=True):
        tokens = {"kind": tokenizer.kind}
        config = parse(LanguageModelConfig, {"language": {"dim": 8, "pattern": ["lstm"]}, "tokenizer": tokens})
        model = LanguageModel(config.language, tokenizer.size)
        model.embedding.weight.mul_(60)
        save_model(tmp_path / name, model, config, tokenizer, "# lm\n")

    def said(**search) -> str:
        return audiorec.load(model_dir, search={"kind": "beam", **search}).transcribe(speech[: 6 * 8000]).text

    assert said() == said(fuse=tmp_path / "lm", fuse_weight=0) != said(fuse=tmp_path / "lm", fuse_weight=1)
    with pytest.raises(UserError, match=r"search\.fuse: the language model's pieces are not the recogniser's"):
        said(fuse=tmp_path / "other")
    with pytest.raises(UserError, match=r"nothing"):
        said(fuse=tmp_path / "nothing")


def test_errors_are_one_clear_line(model_dir):
    for message, search in {
        "search.beam: .*greater than 0": {"kind": "beam", "beam": 0},
        "search.width: unknown key": {"kind": "beam", "width": 3},
        "hotwords: needs a beam": {"hotwords": ["one"]},
        "hotword 'eleven'": {"kind": "beam", "hotwords": ["eleven"]},
        "max_symbols: a beam emits one symbol a frame": {"kind": "beam", "max_symbols": 3},
        "search.max_symbols: head 'ctc' emits one symbol a frame at most": {"max_symbols": 3},
        "skip_blank: needs a transducer beside a ctc head": {"skip_blank": 0.9},
    }.items():
        with pytest.raises((ConfigError, UserError), match=message) as error:
            audiorec.load(model_dir, search=search)
        assert "\n" not in str(error.value)
