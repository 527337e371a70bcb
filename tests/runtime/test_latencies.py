"""A folder of several latencies: one is chosen at run time, as of a model, and the graphs are those of its name."""

import random
from pathlib import Path

import numpy as np
import pytest
import yaml

import audiorec
from audiorec.errors import ConfigError, UserError
from audiorec.runtime import load
from tests.runtime.handmade import FIRST, PERIOD, encoder, expected, make
from tests.runtime.test_recognizer import fed, heard


def several(folder: Path, kind: str = "rnnt") -> Path:
    """At 80 ms, and at 480 and 0 with a longer and a shorter period."""
    settings = yaml.safe_load((make(folder, kind) / "export.yaml").read_text())
    own = {key: settings[key] for key in ("latency_ms", "first_feed", "period", "state")}
    settings["look_ahead_ms"] = 80
    settings["latencies"] = [{**own, "look_ahead_ms": 80}]
    for ms, times in ((480, 3), (0, 2)):
        first, period = FIRST + PERIOD, times * PERIOD
        for name in ("begin", "step", "end", "short"):
            ends = name in ("end", "short")
            encoder(kind, folder / f"{name}@{ms}.onnx", name in ("begin", "short"), ends, first, period)
        settings["latencies"].append(
            {**own, "look_ahead_ms": ms, "latency_ms": 20.0 + ms, "first_feed": first, "period": period}
        )
    (folder / "export.yaml").write_text(yaml.safe_dump(settings))
    return folder


def test_a_latency_is_chosen_and_the_others_stay(tmp_path, speech):
    recognizer = load(several(tmp_path / "made"))
    wanted = tuple(expected("rnnt", speech[:8001])[:2])
    for ms, latency, period in ((480, 500, 3 * PERIOD), (0, 20, 2 * PERIOD), (80, 20, PERIOD)):
        view = recognizer.at_latency(ms)
        assert view.latency_ms == latency and view.runner(1).period == period
        assert heard(view, fed(view.stream(), speech[:8001], random.Random(ms))) == wanted
        assert view.at_latency(480).at_latency(ms).export == view.export
        assert view.graphs._joiner is recognizer.graphs._joiner
    assert recognizer.export.look_ahead_ms == 80 and recognizer.runner(1).period == PERIOD


def test_a_latency_that_is_not_there_is_one_line(tmp_path):
    folder = several(tmp_path / "made")
    recognizer = load(folder)
    with pytest.raises(
        UserError, match=r"^latency 160 ms: this export has 80, 480, 0 ms; export the model at the other one$"
    ):
        recognizer.at_latency(160)
    (folder / "end@480.onnx").unlink()
    with pytest.raises(UserError, match=r"end@480\.onnx: missing; export the model again"):
        recognizer.at_latency(480)
    (folder / "step@0.onnx").unlink()
    with pytest.raises(UserError, match=r"step@0\.onnx: missing, and step_1@0\.onnx too"):
        recognizer.at_latency(0)
    assert recognizer.at_latency(80).transcribe(np.ones(2000, np.float32)).text
    settings = yaml.safe_load((folder / "export.yaml").read_text())
    del settings["latencies"][1]["period"]
    (folder / "export.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=r"latencies\.1.*period"):
        audiorec.load(folder)
