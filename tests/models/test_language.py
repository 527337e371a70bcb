"""The language model: log P in any grouping is that of a plain loop; its folder is a model folder; no layer looks ahead."""

import pytest
import torch

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.models import LanguageModel, LanguageModelConfig, load_language_model, load_model, save_model
from audiorec.models.language import LanguageConfig, pad
from audiorec.text import BLANK, train_tokenizer

TEXTS = [[3, 4, 5, 2, 2, 7], [7], [], [1, 2, 3]]
KINDS = ["min_gru", "lstm", "mamba", {"kind": "transformer", "heads": 2, "left": 2}]


def make(*pattern) -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(parse(LanguageConfig, {"dim": 8, "pattern": list(pattern)}), vocabulary=9).eval()
    with torch.no_grad():
        model.embedding.weight.mul_(30)
        model.bias.normal_()
    return model


def plainly(model: LanguageModel, text: list[int]) -> float:
    """log P of a text and its end, one symbol at a time, each from all the symbols before it, in float64."""
    total = 0.0
    for n, symbol in enumerate([*text, BLANK]):
        before = torch.tensor([[BLANK, *text[:n]]])
        frame = model.body(model.embedding(before))[0][0, -1]
        total += float(torch.log_softmax(model.embedding.weight @ frame + model.bias, 0)[symbol])
    return total


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_log_probabilities_are_those_of_a_plain_loop_in_any_grouping(kind):
    model = make(kind, "min_gru").double()
    expected = torch.tensor([plainly(model, text) for text in TEXTS], dtype=torch.float64)
    symbols, lengths = pad(TEXTS)
    torch.testing.assert_close(-model.losses(symbols, lengths), expected, rtol=1e-12, atol=1e-12)
    for cuts in ([6], [1] * 6, [2, 0, 3, 1]):
        state, total, at = model.initial_state(len(TEXTS)), torch.zeros(len(TEXTS), dtype=torch.float64), 0
        for cut in cuts:
            said, state = model.step(symbols[:, at : at + cut], (lengths - at).clamp(0, cut), state)
            total, at = total + said, at + cut
        torch.testing.assert_close(total + model.end(state), expected, rtol=1e-12, atol=1e-12)


def test_losses_do_not_depend_on_what_is_beside_or_after_a_text():
    model = make("lstm")
    symbols, lengths = pad(TEXTS)
    poisoned = torch.where(torch.arange(symbols.shape[1]) < lengths[:, None], symbols, 8)
    alone = torch.cat([model.losses(*pad([text])) for text in TEXTS])
    torch.testing.assert_close(model.losses(poisoned, lengths), alone)


def test_what_looks_ahead_is_refused():
    with pytest.raises(ConfigError, match=r"language\.pattern: a layer looks ahead"):
        make({"kind": "transformer", "heads": 2, "right": 1})


def test_a_folder_gives_back_the_model_and_is_no_recogniser(tmp_path, model_dir):
    tokenizer = train_tokenizer("char", ["one two nine"])
    config = parse(LanguageModelConfig, {"language": {"dim": 8, "pattern": ["lstm"]}, "tokenizer": {"kind": "char"}})
    model = LanguageModel(config.language, tokenizer.size).eval()
    save_model(tmp_path / "lm", model, config, tokenizer, "# lm\n")
    again, pieces, _ = load_language_model(tmp_path / "lm")
    batch = pad([tokenizer.encode("nine one")])
    assert pieces.pieces == tokenizer.pieces and torch.equal(again.losses(*batch), model.losses(*batch))
    with pytest.raises(UserError, match="needs to be a recogniser, and is a language model"):
        load_model(tmp_path / "lm")
    with pytest.raises(UserError, match="needs to be a language model, and is a recogniser"):
        load_language_model(model_dir)
