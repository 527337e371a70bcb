"""`audiorec data subset|split|combine|stats|utt2dur|spk2utt`: parts hold what they say, and together they are the whole."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from audiorec.audio.read import write
from audiorec.cli import app
from audiorec.data import select
from audiorec.data.kaldi import Utterance, read_data_dir, write_data_dir
from audiorec.data.statistics import statistics
from audiorec.data.validate import validate
from audiorec.errors import ConfigError, UserError

# Speakers a to e have 1 to 5 utterances, two of them in a recording.
UTTERANCES = [
    Utterance(f"{name}-{i}", f"{name}{i // 2}", Path(f"{name}{i // 2}.wav"), i % 2, i % 2 + 0.5, f"word {i}", name)
    for size, name in enumerate("abcde", 1)
    for i in range(size)
]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in {utterance.path.name for utterance in UTTERANCES}:
        write(tmp_path / name, np.full(12000, 0.1), 8000)
    write_data_dir(tmp_path / "all", [replace(u, path=tmp_path / u.path) for u in UTTERANCES])
    return tmp_path


def run(*arguments) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def ids(folder) -> list[str]:
    return [utterance.id for utterance in read_data_dir(folder)]


def test_subsets_hold_what_was_asked_for(folder):
    (folder / "names").write_text("c x y\n\ne\n")
    (folder / "utterances").write_text("d-0 any words\nb-1\n")
    everything = ids(folder / "all")
    for options, expected in [
        (["--first", 3], everything[:3]),
        (["--per-speaker", 2], ["a-0", "b-0", "b-1", "c-0", "c-1", "d-0", "d-1", "e-0", "e-1"]),
        (["--speakers", folder / "names"], [name for name in everything if name[0] in "ce"]),
        (["--utterances", folder / "utterances"], ["b-1", "d-0"]),
    ]:
        assert run("subset", folder / "all", folder / "part", *options).endswith(
            f"part: {len(expected)} of 15 utterances\n"
        )
        assert ids(folder / "part") == expected and validate(folder / "part") == []
    draws = []
    for seed in (0, 0, 1):
        run("subset", folder / "all", folder / "part", "--random", 6, "--seed", seed)
        draws.append(ids(folder / "part"))
    assert draws[0] == draws[1] != draws[2] and all(len(set(draw)) == 6 for draw in draws)


def test_what_is_not_there_is_refused(folder):
    (folder / "names").write_text("x\ny\n")
    for options, complaint in [
        (["--first", 16], "16 wanted of 15 utterances"),
        (["--speakers", folder / "names"], "no utterance is of speaker 'x', nor of 1 more"),
        (["--utterances", folder / "names"], "no utterance is called 'x'"),
    ]:
        with pytest.raises(UserError, match=complaint):
            run("subset", folder / "all", folder / "part", *options)
    for options in ([], ["--first", 1, "--random", 1]):
        with pytest.raises(ConfigError, match="give one of --first"):
            run("subset", folder / "all", folder / "part", *options)
    assert not (folder / "part").exists()


@pytest.mark.parametrize("parts", [1, 3, 5])
@pytest.mark.parametrize("by_speaker", [True, False])
def test_parts_divide_the_whole(parts, by_speaker):
    found = select.split(UTTERANCES, parts, by_speaker)
    assert sorted(itertools.chain(*found), key=lambda u: u.id) == UTTERANCES and len(found) == parts
    sizes = [len(part) for part in found]
    if by_speaker:
        speakers = Counter(name for part in found for name in {utterance.speaker for utterance in part})
        assert set(speakers.values()) == {1} and min(sizes) > 0
    else:
        assert max(sizes) - min(sizes) <= 1


def test_split_and_combine_are_inverse(folder):
    run("split", folder / "all", folder / "split", "--parts", 3)
    run("combine", folder / "again", *(folder / "split" / str(i) for i in (1, 2, 3)))
    assert read_data_dir(folder / "again") == read_data_dir(folder / "all")
    with pytest.raises(UserError, match="utterance 'a-0' is in two of the folders"):
        run("combine", folder / "twice", folder / "all", folder / "all")
    with pytest.raises(UserError, match="6 wanted of 5 speakers"):
        run("split", folder / "all", folder / "split", "--parts", 6)


def test_statistics_count_what_is_there(folder):
    texts = ["one two", "one two", "three", "", ""]
    found = statistics(
        [replace(u, text=text) for u, text in zip(UTTERANCES, texts, strict=False)],
        {u.id: 1.0 + i for i, u in enumerate(UTTERANCES)},
        [(8000, 1), (16000, 2), (8000, 1)],
    )
    assert (found.utterances, found.words, found.vocabulary, found.doubles) == (5, 5, 3, {"one two": 2})
    assert found.hours == pytest.approx(15 / 3600) and found.seconds[0::2] == [1, 3, 5]
    assert found.alphabet["e"] == 4 and found.rates == {(8000, 1): 2, (16000, 2): 1}
    said = run("stats", folder / "all")
    assert "utterances   15 of 9 recordings" in said and "9 of 8000 Hz, 1 channel\n" in said
    assert "speakers     5, 0.0 to 0.0 minutes each" in said and "5 × word 0" in said


def test_tables_are_made_from_others(folder):
    run("utt2dur", folder / "all"), run("spk2utt", folder / "all")
    lines = (folder / "all" / "utt2dur").read_text().splitlines()
    assert lines[:2] == ["a-0 0.500000", "b-0 0.500000"] and len(lines) == 15
    assert (folder / "all" / "reco2dur").read_text().startswith("a0 1.500000\nb0 1.500000\n")
    assert (folder / "all" / "spk2utt").read_text().startswith("a a-0\nb b-0 b-1\n")
    assert validate(folder / "all") == []
    (folder / "all" / "reco2dur").write_text("a0 9\n")
    assert run("utt2dur", folder / "all") and validate(folder / "all") == []  # it asks the audio
