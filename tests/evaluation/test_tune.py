"""Tuning a beam's weights: every trial is what a recogniser with that setting gives, the best one is found and told."""

import pytest
from typer.testing import CliRunner

import audiorec
from audiorec.audio.read import read, write
from audiorec.cli import app
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import ConfigError
from audiorec.evaluation import score
from audiorec.evaluation.tune import ranges, tune
from audiorec.search import SearchConfig
from audiorec.text import Normalizer

ARPA = """\\data\\
ngram 1=6
ngram 2=2

\\1-grams:
-1.0 <unk>
-99 <s> -0.2
-0.9 </s>
-0.4 one -0.3
-1.2 two -0.1
-0.8 nine

\\2-grams:
-0.1 <s> nine
-0.3 one two

\\end\\
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory, speech):
    """Data of four utterances, and a beam with a lexicon and a word n-gram."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "lexicon.txt").write_text("one ▁one\nwon ▁one\ntwo ▁two\nnine ▁nine\nnine-two ▁nine ▁two\nfour ▁four\n")
    (folder / "words.arpa").write_text(ARPA)
    utterances = []
    for i in range(4):
        write(folder / f"{i}.wav", speech[i * 12000 : (i + 1) * 12000], 8000)
        utterances.append(Utterance(f"u{i}", f"u{i}", folder / f"{i}.wav", 0.0, None, "Nine two four one", "a"))
    write_data_dir(folder / "dev", utterances)
    search = {"kind": "beam", "beam": 4, "lexicon": folder / "lexicon.txt", "word_lm": folder / "words.arpa"}
    return folder / "dev", {**search, "unk_score": -3.0, "word_lm_weight": 0.5}


def test_a_trial_is_what_a_recogniser_of_that_setting_gives(model_dir, given):
    data, search = given
    recognizer = audiorec.load(model_dir, search=search)
    tried = {"word_lm_weight": [0.1, 2.0], "word_bonus": [-3.0, 4.0], "unk_score": [-1.0]}
    trials = list(tune(recognizer, data, Normalizer(case="lower"), tried))
    assert trials[0].setting == {"word_lm_weight": 0.5, "word_bonus": 0.0, "unk_score": -3.0}
    assert len({str(trial.setting) for trial in trials}) == len(trials) and len({trial.wer for trial in trials}) > 1
    for trial in trials:
        one = audiorec.load(model_dir, search={**search, **trial.setting}, endpoint=None)
        results = one.transcribe_batch([read(data.parent / f"{i}.wav")[0] for i in range(4)])
        texts = {f"u{i}": result.text for i, result in enumerate(results)}
        assert score(dict.fromkeys(texts, "nine two four one"), texts).wer == pytest.approx(trial.wer)
    best = min(trials, key=lambda trial: trial.wer)
    near = [{**best.setting, key: value} for key, values in tried.items() for value in values]
    assert all(setting in [trial.setting for trial in trials] for setting in near)  # it went on from the best


def test_the_command_tells_the_best_setting(model_dir, given):
    data, search = given
    options = ["--lexicon", search["lexicon"], "--word-lm", search["word_lm"], "--search", "beam", "--utterances", 2]
    arguments = ["tune", model_dir, "word_bonus=-3,4", "--data", data, *options]
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    lines = done.stdout.strip().splitlines()
    assert done.exception is None and len(lines) == 4 and lines[0].startswith("WER ")
    rates = [float(line.split()[1]) for line in lines[:3]]
    assert lines[3].startswith("best of 3: --word-bonus") and f"WER {min(rates):.2f} %" in lines[3]


def test_what_cannot_be_tuned_is_one_line(given):
    config = SearchConfig(**given[1])
    assert list(ranges(config, {})) == ["word_lm_weight", "word_bonus", "unk_score"]
    assert list(ranges(SearchConfig(kind="beam", fuse="lm"), {})) == ["fuse_weight", "fuse_bonus"]
    for search, tried, message in [
        (SearchConfig(), {}, "tune: a greedy search has nothing to tune"),
        (SearchConfig(kind="beam"), {}, "nothing to tune; give it an n-gram"),
        (config, {"beam": [4]}, "tune: no setting 'beam'; it tunes lm_weight"),
        (config, {"lm_weight": [1]}, "tune: lm_weight has no effect without lm"),
    ]:
        with pytest.raises(ConfigError, match=message):
            ranges(search, tried)
