"""Tokenisers: round trips, words and their spans, training, and files on disk."""

import copy
import pickle
import random
from pathlib import Path
from typing import Literal

import pytest

from audiorec.config import parse
from audiorec.errors import ConfigError, UserError
from audiorec.models import ModelConfig
from audiorec.text import (
    BLANK,
    TOKENIZERS,
    UNKNOWN,
    Tokenizer,
    TokenizerConfig,
    describe_size,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
    words,
)
from audiorec.text.table import WordTokenizer

DIGITS = Path(__file__).parents[2] / "egs/digits/recordings/text"
ENGLISH = """
it was late in the evening when the old keeper of the lighthouse heard a voice that he couldn't place
she'd said the boat would come at half past nine but nobody had seen it leave the harbour that day
the rain kept falling on the roof and the wind blew from the west until the windows shook
he put the kettle on and waited because there was nothing else that a man could do in such weather
über naïve façades the señor sipped ½ of his ﬁne café while the кот slept and 東京 was far away
"""
SIZES = {"char": None, "word": None, "bpe": 150, "unigram": 90}


def transcripts() -> list[str]:
    digits = [line.split(maxsplit=1)[1] for line in DIGITS.read_text().splitlines()]
    return digits + ENGLISH.strip().splitlines()


@pytest.fixture(scope="module", params=SIZES)
def tokenizer(request) -> Tokenizer:
    return train_tokenizer(request.param, transcripts(), SIZES[request.param])


def test_blank_unknown_and_size(tokenizer):
    assert (tokenizer.pieces[BLANK], tokenizer.pieces[UNKNOWN]) == ("<blk>", "<unk>")
    assert tokenizer.size == len(set(tokenizer.pieces))
    assert tokenizer.size == SIZES[tokenizer.kind] or SIZES[tokenizer.kind] is None


def test_decode_inverts_encode(tokenizer):
    rng = random.Random(0)
    vocabulary = sorted({word for text in transcripts() for word in text.split()})
    letters = sorted({letter for word in vocabulary for letter in word})
    texts = [*transcripts(), ""]
    texts += [" ".join(rng.choices(vocabulary, k=rng.randint(1, 12))) for _ in range(300)]
    if tokenizer.kind != "word":
        texts += [" ".join("".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(4)) for _ in range(300)]
    for text in texts:
        ids = tokenizer.encode(text)
        assert not {BLANK, UNKNOWN} & set(ids)
        assert tokenizer.decode(ids) == text


def test_words_are_encoded_one_by_one(tokenizer):
    for text in transcripts()[-5:]:
        assert tokenizer.encode(text) == [token for word in text.split() for token in tokenizer.encode(word)]
    assert tokenizer.encode("  seven\t \u2581one\n") == tokenizer.encode("seven one")


def test_what_is_not_known_becomes_unknown_never_blank(tokenizer):
    for text in ("one ☃ two", "one <unk> two"):
        ids = tokenizer.encode(text)
        assert ids.count(UNKNOWN) == 1
        assert tokenizer.decode(ids) == "one <unk> two"
    assert BLANK not in tokenizer.encode("<blk> one<blk>")


def test_words_join_to_the_decoded_text_whatever_the_tokens(tokenizer):
    rng = random.Random(1)
    odd = [BLANK, UNKNOWN] + [i for i, piece in enumerate(tokenizer.pieces) if piece in ("▁", "o", "▁one")]
    for _ in range(500):
        ids = rng.choices(odd if rng.random() < 0.5 else range(tokenizer.size), k=rng.randint(0, 12))
        found = words(tokenizer, ids)
        assert " ".join(word.text for word in found) == tokenizer.decode(ids)
        for text, start, end in found:
            assert 0 <= start < end <= len(ids)
            assert tokenizer.decode(ids[start:end]) == text
        bounds = [bound for _, start, end in found for bound in (start, end)]
        assert bounds == sorted(bounds)


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ("▁ o n e ▁ t w o", [("one", 0, 4), ("two", 4, 8)]),
        ("n e ▁ ▁ ▁ t", [("ne", 0, 2), ("t", 4, 6)]),
        ("▁ <blk> o <blk> <unk> ▁", [("o<unk>", 0, 5)]),
        ("▁ <blk>", []),
    ],
)
def test_spans_of_characters(sequence, expected):
    tokenizer = train_tokenizer("char", ["one two"])
    assert words(tokenizer, [tokenizer.pieces.index(piece) for piece in sequence.split()]) == expected


def test_an_unknown_word_is_a_word_of_its_own():
    tokenizer = train_tokenizer("word", ["one two"])
    one = tokenizer.encode("one")[0]
    assert words(tokenizer, [one, UNKNOWN, UNKNOWN]) == [("one", 0, 1), ("<unk>", 1, 2), ("<unk>", 2, 3)]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_itself_agrees(kind, tmp_path):
    """What a phone or sherpa-onnx reads from the saved model: the same ids, and the same text from them."""
    import sentencepiece

    tokenizer = train_tokenizer(kind, transcripts(), SIZES[kind])
    tokenizer.save(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for text in transcripts()[-100:]:
        assert theirs.encode(text) == tokenizer.encode(text)
        assert theirs.decode(tokenizer.encode(text)) == text


def test_files_carry_everything(tokenizer, tmp_path):
    train_tokenizer("bpe" if tokenizer.kind == "word" else "word", transcripts(), 80).save(tmp_path)
    tokenizer.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "the tokenizer saved before is replaced, no temporary file is left"
    for other in (load_tokenizer(tmp_path), pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer)):
        assert (other.kind, other.pieces) == (tokenizer.kind, tokenizer.pieces)
        assert [other.encode(text) for text in transcripts()] == [tokenizer.encode(text) for text in transcripts()]


def test_training_repeats_itself_and_is_silent(tokenizer, tmp_path, capfd):
    tokenizer.save(tmp_path / "a")
    train_tokenizer(tokenizer.kind, iter(transcripts()), SIZES[tokenizer.kind]).save(tmp_path / "b")
    load_tokenizer(tmp_path / "b")
    assert (tmp_path / "a" / tokenizer.file).read_bytes() == (tmp_path / "b" / tokenizer.file).read_bytes()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_long_texts_are_not_left_out(kind):
    long = " ".join(["a"] * 3000 + ["z"])
    assert UNKNOWN not in train_tokenizer(kind, [long], 5).encode(long)


@pytest.mark.parametrize("kind", SIZES)
def test_a_size_is_kept_exactly_or_refused_with_what_would_do(kind):
    texts = transcripts()
    with pytest.raises(UserError, match=r"size 9999: .* \d+ to \d+ pieces") as error:
        train_tokenizer(kind, texts, 9999)
    least, most = (int(word) for word in str(error.value).split() if word.isdigit())
    for size in (least, most):
        assert train_tokenizer(kind, texts, size).size == size
    for size in (least - 1, most + 1, 2, 0, -1):
        with pytest.raises(UserError, match=rf"tokenizer\.size( {size}:|: .*got {size})") as error:
            train_tokenizer(kind, texts, size)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_without_a_size_subwords_are_500_or_as_many_as_the_text_allows(kind):
    config = TOKENIZERS.parse(kind)
    texts = ["one two three", "four five six"]
    tokenizer = train_tokenizer(config, texts)
    with pytest.raises(UserError, match=f"to {tokenizer.size} pieces"):
        train_tokenizer(kind, texts, 9999)
    assert "tokenizer.size is not set" in describe_size(tokenizer, config)
    rng = random.Random(0)
    long = [" ".join("".join(rng.choices("abcdefghij", k=6)) for _ in range(2000))]
    assert train_tokenizer(config, long).size == 500
    signs = "".join(chr(0x4E00 + i) for i in range(600))
    with pytest.raises(UserError, match=r"tokenizer\.size 500 \(the default\): too small, .* at least 603"):
        train_tokenizer(config, [signs])


def test_a_config_normalises_and_a_folder_of_other_settings_is_refused(tmp_path):
    config = TOKENIZERS.parse({"kind": "word", "normalize": {"case": "lower"}})
    tokenizer = train_tokenizer(config, ["Seven NINE"])
    assert tokenizer.pieces[2:] == ["▁nine", "▁seven"]
    save_tokenizer(tmp_path / "a", tokenizer, config)
    assert load_tokenizer(tmp_path / "a", config).pieces == tokenizer.pieces
    tokenizer.save(tmp_path / "model")  # as in a model directory, whose config.yaml holds the settings
    (tmp_path / "model/config.yaml").write_text("encoder: lstm\ntokenizer: {kind: word, normalize: {case: lower}}\n")
    for settings, message in [
        ({"kind": "char"}, r"tokenizer\.kind=word, the recipe has char"),
        ({"kind": "word", "size": 3}, r"tokenizer\.size=4, the recipe has 3"),
        ({"kind": "word"}, r"tokenizer\.normalize\.case=lower, the recipe has none"),
        (
            {"kind": "word", "normalize": {"case": "lower", "punctuation": False}},
            r"tokenizer\.normalize\.punctuation=true, the recipe has false",
        ),
    ]:
        for folder in ("a", "model"):
            with pytest.raises(ConfigError, match=f"{folder}: .*{message}") as error:
                load_tokenizer(tmp_path / folder, TOKENIZERS.parse(settings))
            assert "\n" not in str(error.value)
    load_tokenizer(tmp_path / "a", TOKENIZERS.parse({"kind": "word", "size": 4, "normalize": {"case": "lower"}}))


def test_a_plugins_kind_is_trained_saved_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(TOKENIZERS, "kinds", dict(TOKENIZERS.kinds))

    @TOKENIZERS.register
    class Reversed(WordTokenizer):
        kind, file = "reversed", "reversed.txt"

        class Config(TokenizerConfig):
            kind: Literal["reversed"] = "reversed"

        @staticmethod
        def load(path: Path) -> "Reversed":
            return Reversed([line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()])

    config = parse(ModelConfig, {"encoder": "lstm", "heads": "ctc", "tokenizer": "reversed"}).tokenizer
    train_tokenizer("char", ["x"]).save(tmp_path)
    save_tokenizer(tmp_path, train_tokenizer(config, ["one two"]), config)
    assert isinstance(load_tokenizer(tmp_path, config), Reversed) and not (tmp_path / "tokens.txt").exists()


def test_the_most_frequent_words_are_kept():
    tokenizer = train_tokenizer("word", ["b a c b", "a b <unk> <unk> <unk> <blk>"], 4)
    assert tokenizer.pieces == ["<blk>", "<unk>", "▁b", "▁a"]
    assert tokenizer.encode("c a") == [UNKNOWN, 3]
    assert train_tokenizer("char", ["eee d eee"], 4).pieces == ["<blk>", "<unk>", "▁", "e"]


@pytest.mark.parametrize(
    ("kind", "texts", "size", "error", "message"),
    [
        ("morse", ["one"], None, ConfigError, "'morse'; it accepts bpe, char, phone, unigram, word"),
        ("char", [" ", "<unk>", "▁"], None, UserError, "no text"),
    ],
)
def test_training_refuses(kind, texts, size, error, message):
    with pytest.raises(error, match=message):
        train_tokenizer(kind, texts, size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: expected"),
        (b"<blk> 0\n<unk> 1\n", "then the pieces"),
        (b"<unk> 0\n<blk> 1\n\xe2\x96\x81a 2\n", "must begin with"),
        (b"<blk> 0\n<unk> 1\n\xe2\x96\x81a 3\n", "line 3: the id must be 2"),
        (b"<blk> 0\n<unk> 1\n\xe2\x96\x81a 1\n", "line 3: the id must be 2"),
        (b"<blk> 0\n<unk> 1\n\xe2\x96\x81a 2\n\xe2\x96\x81a 3\n", "line 4: the piece '▁a' stands on line 3"),
        (b"<blk> 0\n<unk> 1\n\n", "line 3: expected"),
        (b"<blk> 0\n<unk> 1\n\xe2\x96\x81 2\nab 3\n", "line 4: the piece 'ab' does not fit"),
        (b"<blk> 0\n<unk> 1\n\xe2\x96\x81ab 2\nc 3\n", "line 4: the piece 'c' does not fit"),
        (b"<blk> 0\n<unk> 1\n\xff 2\n", "UTF-8"),
    ],
)
def test_damaged_tables_are_refused(content, message, tmp_path):
    (tmp_path / "tokens.txt").write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path / "tokens.txt") in str(error.value)


def test_a_model_cut_off_anywhere_is_refused_or_whole_enough(tmp_path, capfd):
    """sentencepiece takes files without their last, empty parts; nothing that matters may be missing."""
    text = "one two three four five six seven eight nine"
    tokenizer = train_tokenizer("bpe", [text], 30)
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.model"
    whole = path.read_bytes()
    taken = 0
    for content in (b"garbage", *(whole[:cut] for cut in range(len(whole)))):
        path.write_bytes(content)
        try:
            other = load_tokenizer(tmp_path)
        except UserError as error:
            assert "tokenizer.model: " in str(error) and "\n" not in str(error)
        else:
            taken += 1
            assert (other.pieces, other.encode(text)) == (tokenizer.pieces, tokenizer.encode(text))
    assert taken <= 2
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match=r"no tokenizer here \(neither tokens.txt nor phones.txt nor tokenizer.model\)"):
        load_tokenizer(tmp_path / "nowhere")
