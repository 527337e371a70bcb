"""``audiorec lm`` and ``audiorec perplexity``: words, pieces, several texts, and settings that do not fit."""

import pytest
from typer.testing import CliRunner

from audiorec.cli import app
from audiorec.errors import ConfigError, UserError
from audiorec.search.arpa import read_ngram
from audiorec.text import TOKENIZERS, save_tokenizer, train_tokenizer
from tests.search.test_ngram import HELD_OUT, LINES, OTHERS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, lines in (("a", LINES), ("b", OTHERS), ("dev", HELD_OUT)):
        (folder / name).write_text("\n".join(map(" ".join, lines)) + "\n")
    (folder / "words").write_text("w1 W AH N\nw2 T UW\nw2(2) T AH\nw1234 F AO R\n")
    return folder


def run(*arguments) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_tuned_mixture_predicts_better_than_a_given_one(folder, tmp_path):
    a, b, dev, out = folder / "a", folder / "b", folder / "dev", tmp_path / "lm.arpa"
    perplexities = []
    for weights in (["--weights", "0.05,0.95"], ["--weights", "0.95,0.05"], ["--tune", dev]):
        shown = run("lm", a, b, *weights, "--out", out)
        perplexities.append(float(run("perplexity", out, dev).split("without unknown words ")[1].split(";")[0]))
    assert perplexities[2] < min(perplexities[:2]) and "." in shown.split()[0]
    words = {word for lines in (LINES, OTHERS) for line in lines for word in line}
    assert set(read_ngram(out).words) == words | {"<unk>", "<s>", "</s>"}


def test_a_vocabulary_may_be_a_lexicon(folder, tmp_path):
    shown = run("lm", folder / "a", "--vocabulary", folder / "words", "--out", tmp_path / "lm.arpa", "--order", 2)
    assert read_ngram(tmp_path / "lm.arpa").words == ["<unk>", "<s>", "</s>", "w1", "w2", "w1234"]
    assert "words are not in" in shown


def test_pieces_are_a_tokenizers(folder, tmp_path):
    config = TOKENIZERS.parse({"kind": "char"})
    tokenizer = train_tokenizer(config, map(" ".join, LINES))
    save_tokenizer(tmp_path / "pieces", tokenizer, config)
    run("lm", folder / "a", "--tokenizer", tmp_path / "pieces", "--out", tmp_path / "lm.arpa", "--order", 4)
    assert set(read_ngram(tmp_path / "lm.arpa").words) == {*tokenizer.pieces[1:], "<s>", "</s>"}
    assert "0 unknown" in run("perplexity", tmp_path / "lm.arpa", folder / "dev", "--tokenizer", tmp_path / "pieces")


def test_what_does_not_fit_is_one_line(folder, tmp_path):
    out = ("--out", tmp_path / "lm.arpa")
    (tmp_path / "upper").write_text("W1\nW2\n")
    (tmp_path / "empty").write_text("\n\n")
    faults = {
        "goes with two texts": (ConfigError, [folder / "a", "--tune", folder / "dev"]),
        "their sum is 1": (ConfigError, [folder / "a", folder / "b", "--weights", "0.5,0.6"]),
        "expected numbers": (ConfigError, [folder / "a", "--prune", "0,x"]),
        "begin with 0": (UserError, [folder / "a", "--prune", "1"]),
        "no text to count": (UserError, [tmp_path / "empty"]),
        "another language or case": (UserError, [folder / "a", "--vocabulary", tmp_path / "upper"]),
        "holds no word": (UserError, [folder / "a", "--vocabulary", tmp_path / "empty"]),
        "no tokenizer here": (UserError, [folder / "a", "--tokenizer", tmp_path]),
        "leave --vocabulary": (ConfigError, [folder / "a", "--tokenizer", tmp_path, "--vocabulary", folder / "words"]),
    }
    for message, (kind, arguments) in faults.items():
        with pytest.raises(kind, match=message) as error:
            run("lm", *arguments, *out)
        assert "\n" not in str(error.value) and not (tmp_path / "lm.arpa").exists()
    run("lm", folder / "a", *out)
    with pytest.raises(UserError, match="has none of the words"):
        run("perplexity", tmp_path / "lm.arpa", tmp_path / "upper")
