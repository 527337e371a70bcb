"""Mini LibriSpeech's preparation: from the archive and from the public home; what is cut off is refused in one line."""

import io
import runpy
import shutil
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from audiorec.audio.read import write
from audiorec.data.corpora import HOMES, find_corpus
from audiorec.data.kaldi import Utterance, read_data_dir
from audiorec.data.validate import validate
from audiorec.errors import UserError
from tests.conftest import ROOT

prepare = runpy.run_path(str(ROOT / "egs/mini_librispeech/local/prepare.py"))["main"]
words = runpy.run_path(str(ROOT / "egs/mini_librispeech/local/words.py"))["main"]
SPEAKERS = {"train": ["19", "103"], "dev": ["4406"], "test": ["4088", "8226"]}


def named(speaker: str) -> str:
    return f"{speaker}-7-0000"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a tiny archive in the layout of the real one, whose paths begin at the corpus."""
    home = tmp_path_factory.mktemp("home")
    for part, speakers in SPEAKERS.items():
        folder = home / "mini_librispeech" / part
        (folder / "audio").mkdir(parents=True)
        for name in (ids := sorted(map(named, speakers))):
            write(folder / f"audio/{name}.flac", np.zeros(4000, np.float32), 16000)
        tables = {"wav.scp": "{1}/audio/{0}.flac", "text": "IT'S {1}", "utt2spk": "{2}"}
        for table, rest in tables.items():
            lines = [f"{name} {rest.format(name, part, name.split('-')[0])}\n" for name in ids]
            (folder / table).write_text("".join(lines))
    with tarfile.open(home / "mini_librispeech.tar", "w") as tar:
        tar.add(home / "mini_librispeech", "mini_librispeech")
    shutil.rmtree(home / "mini_librispeech")
    return home


@pytest.fixture(scope="module")
def public(tmp_path_factory) -> Path:
    """A folder with tiny archives as OpenSLR has them."""
    folder = tmp_path_factory.mktemp("public")
    write(folder / "a.flac", np.zeros(4000, np.float32), 16000)
    audio = (folder / "a.flac").read_bytes()
    for part, speakers in {"train-clean-5": ["19", "103"], "dev-clean-2": ["84", "174", "251", "422"]}.items():
        with tarfile.open(folder / f"{part}.tar.gz", "w:gz") as tar:
            for speaker in speakers:
                inner = f"LibriSpeech/{part}/{speaker}/7/{speaker}-7"
                for name, content in {
                    "-0000.flac": audio,
                    ".trans.txt": f"{speaker}-7-0000 IT'S {part}\n".encode(),
                }.items():
                    member = tarfile.TarInfo(inner + name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def prepared(corpus: Path, out: Path) -> dict[str, list[Utterance]]:
    prepare(corpus, out)
    assert not [problem for part in SPEAKERS for problem in validate(out / part, 16000)]
    return {part: read_data_dir(out / part) for part in SPEAKERS}


def test_from_the_archive(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    parts = prepared(find_corpus("mini_librispeech", tmp_path / "cache"), tmp_path / "data")
    for part, utterances in parts.items():
        assert [u.id for u in utterances] == sorted(map(named, SPEAKERS[part]))
        assert all(u.text == f"IT'S {part}" and u.speaker == u.id.split("-")[0] for u in utterances)
    prepare(tmp_path / "cache/mini_librispeech", tmp_path / "few", 1)
    assert [len(read_data_dir(tmp_path / "few" / part)) for part in SPEAKERS] == [2, 1, 1]


def test_from_the_public_home(public, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIOREC_DATA", raising=False)
    asked = []
    monkeypatch.setattr(
        "audiorec.data.corpora.download", lambda url, to: asked.append(url) or shutil.copy(public / to.name, to)
    )
    parts = prepared(find_corpus("mini_librispeech", tmp_path / "cache"), tmp_path / "data")
    speakers = {part: [u.speaker for u in utterances] for part, utterances in parts.items()}
    assert speakers == {"train": ["103", "19"], "dev": ["174", "422"], "test": ["251", "84"]}
    assert {u.text for u in parts["train"]} == {"IT'S train-clean-5"}
    find_corpus("mini_librispeech", tmp_path / "cache")
    assert asked == list(HOMES["mini_librispeech"]), "fetched again"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["mini_librispeech"]


def test_a_home_that_cannot_be_reached_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOREC_DATA", str(tmp_path))  # which does not hold it

    def refuse(*_):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr("audiorec.data.corpora.download", refuse)
    with pytest.raises(UserError, match=r"openslr\.org.*cannot be fetched \(.*no route.*\).*set AUDIOREC_DATA"):
        find_corpus("mini_librispeech", tmp_path / "cache")


def cuts(archive: Path) -> list[int]:
    """Where an archive may be cut off: in a header, in a member's audio, between members, before its end."""
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    audio = next(member for member in members if member.name.endswith(".flac"))
    last = members[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    return [100, audio.offset + 100, audio.offset_data + 10, audio.offset, last.offset, end]


@pytest.mark.parametrize("which", range(6))
def test_an_archive_cut_off_is_refused(home, tmp_path, monkeypatch, which):
    whole = home / "mini_librispeech.tar"
    (tmp_path / whole.name).write_bytes(whole.read_bytes()[: cuts(whole)[which]])
    monkeypatch.setenv("AUDIOREC_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"mini_librispeech\.tar: .*damaged.*fetch it again") as error:
        find_corpus("mini_librispeech", tmp_path / "cache")
    assert "\n" not in str(error.value) and not list((tmp_path / "cache").glob("*"))


@pytest.mark.parametrize("rest", [b"", bytes(40)], ids=["cut off", "zeros"])
def test_a_fetched_archive_that_is_damaged_is_refused(public, tmp_path, monkeypatch, rest):
    monkeypatch.delenv("AUDIOREC_DATA", raising=False)
    monkeypatch.setattr(
        "audiorec.data.corpora.download", lambda _, to: to.write_bytes((public / to.name).read_bytes()[:-40] + rest)
    )
    with pytest.raises(UserError, match=r"train-clean-5\.tar\.gz: .*damaged.*fetch it again") as error:
        find_corpus("mini_librispeech", tmp_path / "cache")
    assert "\n" not in str(error.value) and not (tmp_path / "cache/mini_librispeech").exists()


def test_a_corpus_that_lacks_a_part_is_refused(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    corpus = find_corpus("mini_librispeech", tmp_path / "cache")
    shutil.rmtree(corpus / "test")
    with pytest.raises(UserError, match=r"test: no such folder"):
        prepare(corpus, tmp_path / "data")
    (tmp_path / "empty/LibriSpeech").mkdir(parents=True)
    with pytest.raises(UserError, match=r"dev-clean-2: holds no transcripts"):
        prepare(tmp_path / "empty", tmp_path / "data")


def test_the_real_archive(shared, tmp_path, monkeypatch):
    if not (shared / "data/mini_librispeech.tar").exists():
        pytest.skip("no mini_librispeech.tar in the shared folder")
    monkeypatch.setenv("AUDIOREC_DATA", str(shared / "data"))
    prepare(find_corpus("mini_librispeech", tmp_path / "cache"), tmp_path / "data")
    parts = {part: read_data_dir(tmp_path / "data" / part) for part in SPEAKERS}
    assert {part: len(utterances) for part, utterances in parts.items()} == {"train": 1519, "dev": 260, "test": 236}
    assert sum(len(u.text.split()) for u in parts["test"]) == 7868
    speakers = {part: {u.speaker for u in utterances} for part, utterances in parts.items()}
    assert speakers["dev"] == {"4406", "5652"} and speakers["test"] == {"4088", "8226"} and len(speakers["train"]) == 28
    assert not speakers["train"] & (speakers["dev"] | speakers["test"])
    assert all(u.path.is_file() for utterances in parts.values() for u in utterances)


def test_words_for_the_search_are_those_of_the_dictionary_and_of_training_alone(home, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOREC_DATA", str(home))
    data = tmp_path / "data"
    prepared(find_corpus("mini_librispeech", tmp_path / "cache"), data)
    (tmp_path / "lexicon").mkdir()
    dictionary = "it's IH1 T S\nbox B AA1 K S # a comment\nbox(2) B AA0 K S\nbox(3) B AO1 K S\na. EY1\ncat K AE1 T\ndog D AO1 G\n"
    (tmp_path / "lexicon/cmudict.dict").write_text(dictionary)
    (tmp_path / "books").mkdir()
    (tmp_path / "books/a.txt").write_text("The box's cat's dog's\ndogs' boxes'\n")
    words(data, tmp_path / "lexicon", tmp_path / "books")
    assert (data / "lexicon.txt").read_text().splitlines() == [
        "BOX B AA K S",
        "BOX B AO K S",
        "BOX'S B AA K S AH Z",
        "BOX'S B AO K S AH Z",
        "CAT K AE T",
        "CAT'S K AE T S",
        "DOG D AO G",
        "DOG'S D AO G Z",
        "IT'S IH T S",
    ]
    assert (data / "lm/books.txt").read_text() == "THE BOX'S CAT'S DOG'S\nDOGS' BOXES'\n"
    assert len((data / "lm/transcripts.txt").read_text().splitlines()) == len(read_data_dir(data / "train"))
    with pytest.raises(UserError, match=r"cmudict\.dict of https://github\.com/cmusphinx/cmudict"):
        words(data, tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "named"), [("lexicon", "cmusphinx/cmudict"), ("books", "gutenberg")])
def test_what_lies_nowhere_is_named_with_its_home(name, named, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOREC_DATA", str(tmp_path))
    with pytest.raises(UserError, match=rf"corpus {name}: neither .*{name}\.tar is there; .*{named}"):
        find_corpus(name, tmp_path / "cache")
    monkeypatch.delenv("AUDIOREC_DATA")
    with pytest.raises(UserError, match=rf"corpus {name}: set AUDIOREC_DATA .*{named}"):
        find_corpus(name, tmp_path / "cache")
    (tmp_path / name).mkdir()
    (tmp_path / name / "a").write_text("x")
    with tarfile.open(tmp_path / f"{name}.tar.xz", "w:xz") as tar:
        tar.add(tmp_path / name, name)
    shutil.rmtree(tmp_path / name)
    monkeypatch.setenv("AUDIOREC_DATA", str(tmp_path))
    assert (find_corpus(name, tmp_path / "cache") / "a").read_text() == "x"
