"""Lexicons: the tree against the file it was read from, and files that are at fault; how named words become text."""

import logging
import random

import numpy as np
import pytest

from audiorec.errors import ConfigError, UserError
from audiorec.search import SearchConfig, build_automata, build_words, session_automata
from audiorec.search.lexicon import Entry, Lexicon, read_lexicon
from audiorec.text import Normalizer, train_tokenizer
from audiorec.transcript import SPELLED, Hypothesis
from audiorec.transcript.reading import beginnings, ended, read

LETTERS = train_tokenizer("char", ["the cat sat", "a dog"])
PIECES = train_tokenizer("bpe", ["the cat sat on the mat", "a dog sat"], 20)
NORMALIZE = Normalizer(case="lower")


def test_a_tree_says_every_entry_and_knows_the_best_word_below_each_node():
    draw = random.Random(0)
    entries = {(draw.randint(1, 9), tuple(draw.choices(range(1, 5), k=draw.randint(1, 4)))) for _ in range(60)}
    given = [Entry(word, tokens, -draw.random()) for word, tokens in entries]
    tree = Lexicon.of([f"w{i}" for i in range(1, 10)], [*given, *given[:5]], 5)
    assert tree.nodes == 1 + len({entry.tokens[:n] for entry in given for n in range(1, 1 + len(entry.tokens))})
    found = {(word, tokens) for word in range(1, 10) for tokens in tree.spellings(f"w{word}")}
    assert found == entries and len(tree.word) == len(given) and tree.spellings("x") == []
    scores = np.array([-draw.random() for _ in range(9)])
    best = tree.best_below(scores)
    for entry in given:
        node = 0
        for token in (None, *entry.tokens):
            if token is not None:
                children = np.arange(tree.first[node], tree.first[node + 1])
                node = int(children[tree.symbol[children] == token][0])
            below = [e for e in given if e.tokens[: len(path(tree, node))] == path(tree, node)]
            assert best[node] == pytest.approx(max(scores[e.word - 1] + e.weight for e in below), abs=1e-6)


def path(tree: Lexicon, node: int) -> tuple[int, ...]:
    return () if node == 0 else (*path(tree, int(tree.parent[node])), int(tree.symbol[node]))


def test_a_lexicon_is_read_as_kaldi_writes_it_or_as_a_list_of_words(tmp_path, caplog):
    file = tmp_path / "lexicon.txt"
    file.write_text("The ▁ t h e\ncat ▁ c a t\n\ncat ▁ c a\n!SIL ▁\ntea ▁ t\ntee ▁ t\n")
    tree = read_lexicon(file, LETTERS, NORMALIZE)
    assert tree.words == ["the", "cat", "", "tea", "tee"]
    assert tree.spellings("the") == [tuple(LETTERS.encode("the"))] and len(tree.spellings("cat")) == 2
    assert np.diff(tree.ends).max() == 2 and not tree.weight.any()
    file.write_text("cat 0.5 ▁ c a t\ncat 1.0 ▁ c a\n")
    weighted = read_lexicon(file, LETTERS, NORMALIZE)
    assert sorted(weighted.weight.tolist()) == pytest.approx([np.log(0.5), 0])
    file.write_text("The\ncat\ndog\n")
    for tokenizer in (LETTERS, PIECES):
        spelled = read_lexicon(file, tokenizer, NORMALIZE, ["sat", "cat"])
        assert spelled.words == ["the", "cat", "dog", "sat"]
        for word in spelled.words:
            assert spelled.spellings(word) == [tuple(tokenizer.encode(word))]
    assert not caplog.records


def test_what_is_wrong_with_a_lexicon_is_one_line_or_counted(tmp_path, caplog):
    file = tmp_path / "lexicon.txt"
    for message, text in {
        "holds no word": "\n \n",
        "line 2: 'cat' has no symbols": "the ▁ t h e\ncat\n",
        r"no word of it can be said with the symbols .* char tokenizer \(line 1: 'cat K AE T'\)": "cat K AE T\n",
    }.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message) as error:
            read_lexicon(file, LETTERS, NORMALIZE)
        assert "lexicon.txt" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="none: no such lexicon"):
        read_lexicon(tmp_path / "none", LETTERS, NORMALIZE)
    file.write_bytes(b"\xff\xfe\n")
    with pytest.raises(UserError, match="cannot be read as UTF-8"):
        read_lexicon(file, LETTERS, NORMALIZE)
    file.write_text("the ▁ t h e\ncat K AE T\nzoo ▁ z o o\nthe ▁ t h e\n")
    with caplog.at_level(logging.WARNING):
        assert read_lexicon(file, LETTERS, NORMALIZE).words == ["the"]
    said = [record.getMessage() for record in caplog.records]
    assert "2 of 4 entries are left out" in said[0] and "(the first is line 2: 'cat K AE T')" in said[0]
    assert "1 of 4 entries are there more than once" in said[1]


def test_settings_of_words_need_a_lexicon_and_a_beam(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("the\ncat\n")
    for given, message in [
        ({"lexicon": file}, "lexicon: needs a beam"),
        ({"kind": "beam", "word_lm": file}, "word_lm: has no effect without lexicon"),
        ({"kind": "beam", "unk_score": -1}, "unk_score: has no effect without lexicon"),
        ({"kind": "beam", "lexicon": file, "word_lm_weight": 1}, "word_lm_weight: has no effect without word_lm"),
    ]:
        with pytest.raises(ValueError, match=message):
            SearchConfig(**given)
    base = SearchConfig(kind="beam", lexicon=file)
    with pytest.raises(ConfigError, match=r"search\.lexicon: a session may give hotwords"):
        session_automata({"lexicon": file}, base, (), LETTERS, NORMALIZE)


def test_hotwords_join_the_lexicon_and_a_sessions_must_be_there(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("the\ncat\n")
    base = SearchConfig(kind="beam", lexicon=file, hotwords=("The dog",), word_bonus=0.5)
    words = build_words(base, LETTERS, NORMALIZE)
    assert words.lexicon.words == ["the", "cat", "dog"] and float(words.ahead[1]) == 0.5
    fewer = build_words(base.model_copy(update={"word_bonus": -0.5}), LETTERS, NORMALIZE)
    assert float(fewer.ahead[1]) == -0.5 and fewer.lm.most == -0.5 and fewer.most == 0
    automata = build_automata(base, LETTERS, NORMALIZE, words)
    with pytest.raises(UserError, match="hotword 'a sat': the search says words of its lexicon alone, which lacks 'a'"):
        session_automata({"hotwords": ["a sat"]}, base, automata, LETTERS, NORMALIZE, words)
    spelling = build_words(base.model_copy(update={"unk_score": -2.0}), LETTERS, NORMALIZE)
    assert session_automata({"hotwords": ["a sat"]}, base, automata, LETTERS, NORMALIZE, spelling)
    with pytest.raises(UserError, match="hotword 'zoo': is not in the lexicon, and the char tokenizer cannot spell it"):
        build_words(SearchConfig(kind="beam", lexicon=file, hotwords=("zoo",)), LETTERS, NORMALIZE)


def test_named_words_are_read_with_their_spans():
    ids = LETTERS.encode("the cat a the")
    words = [None, None, None, "thee", "", *[SPELLED] * 5, *[None] * 4]
    said = Hypothesis(ids, list(range(len(ids))), [0.0] * len(ids), words=words)
    found = read(LETTERS, said)
    assert [word.text for word in found] == ["thee", "cat", "a"]
    assert [(word.start, word.end) for word in found] == [(0, 4), (5, 8), (8, 10)]
    assert ended(said) == 10 and read(LETTERS, said[: ended(said)]) == found
    begins = beginnings(said, LETTERS.begins_word, inside=True)
    assert [i for i, begin in enumerate(begins) if begin] == [4, 8, 10]
    plain = Hypothesis(ids)
    assert [word.text for word in read(LETTERS, plain)] == ["the", "cat", "a", "the"] and ended(plain) == len(ids)
