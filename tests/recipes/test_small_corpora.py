"""Preparation of the small corpora and of the template, on small trees laid out as theirs."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiorec.audio.read import write
from audiorec.data.corpora import HOMES, find_corpus
from audiorec.data.kaldi import Utterance, read_data_dir
from audiorec.data.validate import validate
from audiorec.errors import UserError
from tests.conftest import ROOT

PARTS = "train", "dev", "test"


def prepare(corpus: str, *arguments: Path | str) -> None:
    runpy.run_path(str(ROOT / "egs" / corpus / "local/prepare.py"))["main"](*arguments)


def prepared(corpus: str, source: Path, out: Path, rate: int) -> dict[str, list[Utterance]]:
    prepare(corpus, source, out)
    assert not [problem for part in PARTS for problem in validate(out / part, rate)]
    return {part: read_data_dir(out / part) for part in PARTS}


def record(path: Path, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, np.zeros(rate // 10, np.float32), rate)


# yesno


@pytest.fixture
def yesno(tmp_path) -> Path:
    for number in range(60):
        record(tmp_path / "yesno/waves_yesno" / f"{'_'.join(f'{number:08b}')}.wav", 8000)
    return tmp_path / "yesno"


def test_yesno_is_divided_as_icefall_does(yesno, tmp_path):
    parts = prepared("yesno", yesno, tmp_path / "data", 8000)
    assert {part: len(utterances) for part, utterances in parts.items()} == {"train": 25, "dev": 5, "test": 30}
    assert [u.id for u in parts["test"]] == ["_".join(f"{number:08b}") for number in range(1, 60, 2)]
    assert parts["test"][0].text == "NO NO NO NO NO NO NO YES"
    assert len({u.id for utterances in parts.values() for u in utterances}) == 60


def test_yesno_cut_short_is_refused(yesno, tmp_path):
    next(yesno.rglob("*.wav")).unlink()
    with pytest.raises(UserError, match=r"holds 59 recordings .* has 60"):
        prepare("yesno", yesno, tmp_path / "data")


def test_yesno_comes_from_its_public_home(yesno, tmp_path, monkeypatch):
    monkeypatch.delenv("AUDIOREC_DATA", raising=False)
    asked = []

    def fetch(url: str, to: Path) -> None:
        asked.append(url)
        shutil.make_archive(str(to).removesuffix(".tar.gz"), "gztar", yesno)

    monkeypatch.setattr("audiorec.data.corpora.download", fetch)
    parts = prepared("yesno", find_corpus("yesno", tmp_path / "cache"), tmp_path / "data", 8000)
    assert asked == list(HOMES["yesno"]) and len(parts["test"]) == 30


# The template


@pytest.fixture
def own(tmp_path) -> Path:
    rows = ["path\tage\ttext\tspeaker"]
    for speaker in range(20):
        for number in range(2):
            path = f"audio/{number}/speaker {speaker}.flac"
            record(tmp_path / "own" / path, 16000)
            rows.append(f'{path}\t30\tsays "{number}"\tspeaker {speaker}')
    (tmp_path / "own/text.tsv").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path / "own"


def test_the_template_divides_speakers(own, tmp_path):
    parts = prepared("template", own, tmp_path / "data", 16000)
    speakers = {part: {u.speaker for u in utterances} for part, utterances in parts.items()}
    assert {part: len(found) for part, found in speakers.items()} == {"train": 16, "dev": 2, "test": 2}
    assert len(set.union(*speakers.values())) == 20 and parts["train"][0].text == 'says "0"'
    again = prepared("template", own, tmp_path / "again", 16000)
    assert {part: [u.id for u in found] for part, found in again.items()} == {
        part: [u.id for u in found] for part, found in parts.items()
    }


def test_the_template_divides_the_recordings_of_one_speaker(own, tmp_path):
    table = own / "text.tsv"
    lines = table.read_text(encoding="utf-8").splitlines()
    table.write_text(
        "\n".join([lines[0], *(line.rpartition("\t")[0] + "\tanna" for line in lines[1:])]), encoding="utf-8"
    )
    parts = prepared("template", own, tmp_path / "data", 16000)
    assert {part: len(utterances) for part, utterances in parts.items()} == {"train": 32, "dev": 4, "test": 4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("speaker\n", "who\n", 1), r"text\.tsv:1: no column speaker"),
        (lambda text: text + "audio/none.flac\t3\thello\tanna\n", r"text\.tsv:42: audio/none\.flac: no such file"),
        (lambda text: text + "audio/0/speaker 3.flac\t3\n", r"text\.tsv:42: too few columns"),
        (lambda text: text + text.splitlines()[-1] + "\n", r"appears twice"),
        (lambda text: "\n".join(text.splitlines()[:2]), r"1 recordings cannot be divided"),
    ],
    ids=["column", "file", "columns", "twice", "few"],
)
def test_the_template_names_what_is_wrong(own, tmp_path, change, message):
    table = own / "text.tsv"
    table.write_text(change(table.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        prepare("template", own, tmp_path / "data")
    assert "\n" not in str(error.value)


def test_a_copy_of_the_template_is_a_corpus(own, tmp_path):
    """Its name is the folder's; stages 0 and 1 need nothing else."""
    shutil.copytree(ROOT / "egs/template", tmp_path / "egs/own")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [tmp_path / "egs/own/run.sh", "--stop-stage", "1"],
        env={**os.environ, "PATH": path, "AUDIOREC_DATA": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("no problems") == 3 and str(own) in done.stdout


# Arabic Speech Commands


@pytest.mark.parametrize("form", ["dataset/{}/{}.wav", "audio/{}/{}.opus"], ids=["published", "opus"])
def test_arabic_speech_commands_keep_their_split(tmp_path, form):
    corpus, published = tmp_path / "corpus", "wav" in form
    for table, speakers in {"train": ["01", "02"], "val": ["03"], "test": ["04"]}.items():
        rows = ["file,class"]
        for speaker in speakers:
            for word in ("backward", "zoom in"):
                name = f"{speaker}_NO_01"
                rows.append(f"dataset/{word}/{name}.wav,{word}")
                record(corpus / form.format(word if published else word.replace(" ", "_"), name), 16000)
        (corpus / f"{table}.csv").write_text("\n".join(rows) + "\n")
    parts = prepared("arabic_speech_commands", corpus, tmp_path / "data", 16000)
    assert {part: sorted({u.speaker for u in found}) for part, found in parts.items()} == {
        "train": ["01", "02"],
        "dev": ["03"],
        "test": ["04"],
    }
    assert [u.text for u in parts["dev"]] == ["backward", "zoom_in"]
    next(corpus.glob("*/*/03*")).unlink()
    with pytest.raises(UserError, match=r"val\.csv: dataset/[\w ]+/03_NO_01\.wav is not there"):
        prepare("arabic_speech_commands", corpus, tmp_path / "data")


# Corpora as their public homes have them


def test_librispeech(tmp_path):
    home = tmp_path / "librispeech/LibriSpeech"
    for part in ("train-clean-100", "train-clean-360", "train-other-500", "dev-clean", "test-clean", "test-other"):
        speaker = part.replace("-", "")
        record(home / part / speaker / "7" / f"{speaker}-7-0000.flac", 16000)
        (home / part / speaker / "7" / f"{speaker}-7.trans.txt").write_text(f"{speaker}-7-0000 IT'S {part.upper()}\n")
    prepare("librispeech", tmp_path / "librispeech", tmp_path / "data", "100", "960")
    texts = {
        (split, part): [u.text for u in read_data_dir(tmp_path / "data" / split / part)]
        for split in ("100", "960")
        for part in (*PARTS, "test_other")
    }
    assert texts["100", "train"] == ["IT'S TRAIN-CLEAN-100"] and len(texts["960", "train"]) == 3
    assert texts["100", "dev"] == ["IT'S DEV-CLEAN"] and texts["960", "test_other"] == ["IT'S TEST-OTHER"]
    shutil.rmtree(home / "dev-clean")
    with pytest.raises(UserError, match="dev-clean: holds no transcripts"):
        prepare("librispeech", tmp_path / "librispeech", tmp_path / "data", "100")


def test_speech_commands(tmp_path):
    corpus = tmp_path / "corpus"
    for word in ("yes", "no"):
        for speaker in ("0a", "0b", "0c"):
            record(corpus / word / f"{speaker}_nohash_0.wav", 16000)
    record(corpus / "_background_noise_/pink_noise.wav", 16000)
    (corpus / "validation_list.txt").write_text("yes/0b_nohash_0.wav\nno/0b_nohash_0.wav\n")
    (corpus / "testing_list.txt").write_text("yes/0c_nohash_0.wav\nno/0c_nohash_0.wav\n")
    parts = prepared("speech_commands", corpus, tmp_path / "data", 16000)
    assert {part: {u.speaker for u in found} for part, found in parts.items()} == {
        "train": {"0a"},
        "dev": {"0b"},
        "test": {"0c"},
    }
    assert [u.text for u in parts["test"]] == ["no", "yes"]
    (corpus / "yes/0c_nohash_0.wav").unlink()
    with pytest.raises(UserError, match=r"1 clips of its lists are not there, such as yes/0c_nohash_0\.wav"):
        prepare("speech_commands", corpus, tmp_path / "data")


def test_an4(tmp_path):
    home = tmp_path / "corpus/an4"
    (home / "etc").mkdir(parents=True)
    for part, folder, speakers in [
        ("train", "an4_clstk", ["fash", "mblb", "mema"]),
        ("test", "an4test_clstk", ["fcaw"]),
    ]:
        ids = [f"{folder}/{speaker}/an251-{speaker}-b" for speaker in speakers]
        for name in ids:
            path = home / f"wav/{name}.sph"
            path.parent.mkdir(parents=True)
            soundfile.write(path, np.zeros(1600), 16000, format="NIST", subtype="PCM_16")
        begin, end = ("<s> ", " </s>") if part == "train" else ("", "")
        (home / f"etc/an4_{part}.fileids").write_text("".join(f"{name}\n" for name in ids))
        lines = [f"{begin}RUBOUT G M {speaker.upper()}{end} (an251-{speaker}-b)\n" for speaker in speakers]
        (home / f"etc/an4_{part}.transcription").write_text("".join(lines))
    parts = prepared("an4", tmp_path / "corpus", tmp_path / "data", 16000)
    assert [u.text for u in parts["train"]] == ["RUBOUT G M MBLB", "RUBOUT G M MEMA"]
    assert [u.text for u in parts["dev"]] == ["RUBOUT G M FASH"] and [u.text for u in parts["test"]] == [
        "RUBOUT G M FCAW"
    ]
    (home / "etc/an4_test.transcription").write_text("HELLO (an252-fcaw-b)\n")
    with pytest.raises(UserError, match=r"an4_test\.transcription:1: no `TEXT \(FILE\)` of a file"):
        prepare("an4", tmp_path / "corpus", tmp_path / "data")
