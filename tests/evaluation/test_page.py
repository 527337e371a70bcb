"""The page of a run: it stands alone, shows what was measured, and says what it lacks."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from audiorec.audio.read import write
from audiorec.data.kaldi import Utterance, write_data_dir
from audiorec.errors import UserError
from audiorec.evaluation import write_page
from audiorec.evaluation.page import WORST
from audiorec.evaluation.run import read_epochs

METRICS = "epoch,train_loss,valid_loss,valid_dropped,valid_wer,seconds\n1,3.0,2.0,0,0.9,20\n2,2.0,inf,1,0.4,20\n"


@pytest.fixture
def run(tmp_path) -> Path:
    """Twenty utterances of two speakers, each with an error but the first; one decoding offline, one streamed."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    utterances = []
    for i in range(20):
        write(tmp_path / f"u{i:02}.wav", samples, 8000)
        text = "one <two>" if i else "one"
        utterances.append(Utterance(f"u{i:02}", f"u{i:02}", tmp_path / f"u{i:02}.wav", 0.0, None, text, "ab"[i % 2]))
    write_data_dir(tmp_path / "test", utterances)
    row = {"wer": 0.5, "cer": 0.4, "interval": [0.4, 0.6], "utterances": 20, "words": 39, "parameters": 10**6}
    row |= {"audio_seconds": 10.0, "decode_seconds": 1.0, "data": str(tmp_path / "test")}
    figures = {"mean": 0.2, "median": 0.1234, "p95": 0.3}
    streaming = dict.fromkeys(("first_partial", "word_delay", "finalize"), figures)
    streaming |= {"aligned": "words.ctm", "timed": 20, "changed": 0.0321, "real_time_factor": 0.1}
    decode(tmp_path / "run", "offline", row)
    folder = decode(tmp_path / "run", "streamed-40", {**row, "mode": "streamed", "chunk_ms": 40})
    (folder / "streaming.json").write_text(json.dumps({**streaming, "word_delays": [0.1, 0.1234, 0.3]}))
    (tmp_path / "run/metrics.csv").write_text(METRICS)
    return tmp_path / "run"


def decode(run: Path, name: str, row: dict) -> Path:
    folder = run / "decode" / name
    folder.mkdir(parents=True)
    (folder / "text").write_text("".join(f"u{i:02} one\n" for i in range(20)))
    (folder / "score.json").write_text(json.dumps({"mode": "offline", "differences": 0, **row}))
    return folder


class Balance(HTMLParser):
    """Every tag that opens closes, in order."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_shows_what_was_measured(run):
    rows = write_page(run, run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import|<script""", page), "nothing from elsewhere"
    for shown in ("50.00 %", "40.00 % to 60.00 %", "3.21", "123", "1.00 M", "0 utterances differ from offline"):
        assert shown in page, shown
    assert page.count("<audio") == WORST and "19 of 20 utterances have errors" in page
    assert '<span class="delete"><i>&lt;two&gt;</i><i>∅</i></span>' in page
    assert [row["recipe"] for row in rows] == ["run", "run"] and rows[0]["split"] == "test"


def test_noise_has_a_curve_and_stands_apart_from_the_plain_decodings(run):
    score = json.loads((run / "decode/offline/score.json").read_text())
    for snr, wer in ((0, 0.9), (20, 0.55)):
        decode(run, f"noise-{snr}", {**score, "wer": wer, "condition": "noise", "snr_db": str(snr)})
    decode(run, "any-telephone", {**score, "wer": 0.71, "condition": "telephone"})
    rows = write_page(run, run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    robust = page[page.index("<h2>Robustness") :].split("</section>")[0]
    told = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)", robust)
    assert told == [("clean", "50.00"), ("noise 20 dB", "55.00"), ("noise 0 dB", "90.00"), ("telephone", "71.00")]
    ratios, clean = re.findall(r'<polyline class="s\d" points="([^"]*)"', robust)
    (x0, y0), (x20, y20) = ([float(v) for v in point.split(",")] for point in ratios.split())
    assert x0 < x20 and y0 < y20 and "speech to noise, dB" in robust  # y grows downwards
    assert len({point.split(",")[1] for point in clean.split()}) == 1
    assert "WER, offline" in page and "noise 20 dB" not in page.replace(robust, ""), "a changed test is no plain one"
    assert len(rows) == 5
    shutil.rmtree(run / "decode/offline"), shutil.rmtree(run / "decode/streamed-40")
    write_page(run, run / "report.html")
    assert "90.00" in (run / "report.html").read_text(encoding="utf-8")


def test_longer_utterances_have_a_curve_whole_and_streamed(run):
    score = json.loads((run / "decode/offline/score.json").read_text())
    for number in (2, 4):
        long = {**score, "joined": str(number), "wer": 0.5 + number / 100, "utterances": 20 // number}
        decode(run, f"joined-{number}", long)
        decode(run, f"joined-{number}-streamed", {**long, "mode": "streamed", "chunk_ms": 40, "different_words": 0})
    write_page(run, run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    long = page[page.index("<h2>Long form") :].split("</section>")[0]
    cells = re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)</td><td>([^<]*)", long)
    rates = [("1", "0.5", "50.00"), ("2", "1.0", "52.00"), ("4", "2.0", "54.00")]
    assert cells == [(fed, *rate) for fed in ("whole", "40 ms") for rate in rates]
    lines = re.findall(r'<polyline class="s\d" points="([^"]*)"', long)
    assert len(lines) == 2 and lines[0] == lines[1] and len(lines[0].split()) == 3 and "mean length, s" in long
    assert "joined-2" not in page


def test_data_that_went_elsewhere_are_named_or_missed(run, tmp_path):
    shutil.copytree(tmp_path / "test", tmp_path / "moved")
    shutil.rmtree(tmp_path / "test")
    write_page(run, run / "report.html")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<audio" not in page and "--data" in page and "50.00 %" in page
    write_page(run, run / "report.html", tmp_path / "moved")
    assert "<audio" in (run / "report.html").read_text(encoding="utf-8")


def test_a_run_without_scores_is_refused(tmp_path):
    with pytest.raises(UserError, match="audiorec score"):
        write_page(tmp_path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_other_data_than_the_decoded_are_refused(run, tmp_path):
    write(tmp_path / "z.wav", np.zeros(800, np.float32), 8000)
    write_data_dir(tmp_path / "other", [Utterance("z", "z", tmp_path / "z.wav", 0.0, None, "one", "a")])
    with pytest.raises(UserError, match="does not hold the utterances"):
        write_page(run, run / "report.html", tmp_path / "other")


def test_the_curves_are_the_metrics_of_the_training(run):
    assert [tuple(epoch) for epoch in read_epochs(run)] == [(1, 3.0, 2.0, 90), (2, 2.0, float("inf"), 40)]
    (run / "metrics.csv").unlink()
    assert read_epochs(run) == []
