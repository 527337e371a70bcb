import numpy as np
import pytest

import audiorec
from audiorec.audio.read import write
from tests.serving.browser import browser, browser_driver
from tests.serving.servers import HEADS, Running, save_models
from tests.serving.visits import LEAD


@pytest.fixture(scope="session")
def models(tmp_path_factory, speech):
    """Model folders by name."""
    return save_models(tmp_path_factory.mktemp("served"), speech)


@pytest.fixture(scope="session")
def recognizers(models):
    return {name: audiorec.load(path) for name, path in models.items()}


@pytest.fixture(scope="session")
def server(models):
    """One server of all models; 8 streams of each."""
    with Running(*models.values(), "--sessions", 8, "--threads", 1, "--wyoming", 0) as running:
        yield running
        assert not [line for line in running.log() if line["event"] == "error"]


@pytest.fixture(params=HEADS)
def model(request):
    return request.param


@pytest.fixture(scope="session")
def clip(speech):
    """Nine seconds (T,) at 8 kHz, 16-bit, with a pause that ends a segment."""
    pause = np.zeros(8000 * 3)
    samples = np.concatenate([speech[8000:28000], pause, speech[40000:68000]])
    return np.rint(samples * 32767).astype(np.int16)


@pytest.fixture(scope="session")
def offline(recognizers, clip):
    """What each model says of the clip, offline."""
    results = {name: recognizer.transcribe(clip, 8000) for name, recognizer in recognizers.items()}
    for result in results.values():
        assert len(result.segments) > 1 and len(result.words) > 5
    return results


@pytest.fixture(scope="module")
def said(clip, tmp_path_factory):
    """The clip as the microphone plays it, a file."""
    path = tmp_path_factory.mktemp("microphone") / "said.wav"
    write(path, np.concatenate([np.zeros(int(8000 * LEAD), np.int16), clip, np.zeros(4000, np.int16)]), 8000)
    return path


@pytest.fixture(scope="module")
def driver():
    with browser_driver() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(driver, said):
    with browser(driver, said) as started:
        yield started


def cut(data, seed: int, longest: int = 8000) -> list:
    """Pieces of any size, of bytes that may cut a sample too."""
    draw, pieces, at = np.random.default_rng(seed), [], 0
    while at < len(data):
        size = int(draw.choice([1, 3, 77, 333, 1600, longest]))
        pieces.append(data[at : at + size])
        at += size
    return pieces
