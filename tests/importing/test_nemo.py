"""Imported models give what NeMo gave of the same weights and samples (golden/nemo, made by tools/golden/fastconformer.py)."""

import numpy as np
import pytest
import torch

import audiorec
from audiorec.importing import import_model
from audiorec.models import load_model

from .nemo import CASES, CONTEXTS, GOLDEN, recorded, some, speech


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict:
    root = tmp_path_factory.mktemp("imported")
    for name in CONTEXTS:
        import_model(GOLDEN / f"{name}.nemo", root / name)
    return {name: root / name for name in CONTEXTS}


def off(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The largest difference over the largest value."""
    assert tuple(ours.shape) == theirs.shape
    return float((ours - torch.from_numpy(theirs)).abs().max() / np.abs(theirs).max())


def in_context(folders, name: str, right: int):
    """The model at a look-ahead, and what NeMo gave there."""
    values = recorded(name)
    return load_model(folders[name])[0].at_latency(80.0 * right), {
        key.partition("/")[2]: value for key, value in values.items() if key.startswith(f"70_{right}/")
    }


@pytest.mark.parametrize("name", CONTEXTS)
def test_features_are_nemos(folders, name):
    model, _, _ = load_model(folders[name])
    features = model.features(speech()[..., None])[0][0]
    assert off(torch.from_numpy(some(features.numpy(), 10)), recorded(name)["features"]) < 1e-5
    assert np.abs(some(features.numpy(), 10) - recorded(name)["features"]).max() < 1e-4


@pytest.mark.parametrize("name, left, right", CASES)
@torch.no_grad()
def test_the_encoder_is_nemos_in_float64(folders, name, left, right):
    model = load_model(folders[name])[0].double().at_latency(80.0 * right)
    noise = np.random.default_rng(0).standard_normal((930, model.features.output_dim)) * 2 - 6
    encoded = model.encoder(torch.from_numpy(noise)[None])[0][0]
    assert off(torch.from_numpy(some(encoded.numpy(), 3)), recorded(name)[f"70_{right}/encoded"]) < 1e-9


@pytest.mark.parametrize("name, left, right", CASES)
@torch.no_grad()
def test_scores_are_nemos_from_samples_to_the_last_frame(folders, name, left, right):
    model, values = in_context(folders, name, right)
    frames = model(speech())[0]
    if "ctc" in values:
        ctc = model.heads["ctc"](frames)[0]
        assert off(ctc.roll(-1, 1), values["ctc"]) < 1e-4
    if "joint" in values:
        head = model.heads["transducer"]
        history = torch.from_numpy(values["tokens"][:5])[None] + 1
        projected = head.joiner.encoder_proj(frames[:, ::20])[:, :, None]
        scores = head.joiner(projected, head.joiner.predictor_proj(head.predictor(history))[:, None])[0].log_softmax(-1)
        assert off(scores.roll(-1, -1), values["joint"]) < 1e-4


@pytest.mark.parametrize("name, left, right", CASES)
def test_greedy_words_are_nemos_offline_and_streamed(folders, name, left, right):
    samples, values = speech()[0].numpy(), recorded(name)
    for head, key in (("transducer", "tokens"), ("ctc", "ctc_tokens")):
        if f"70_{right}/{key}" not in values:
            continue
        recognizer = audiorec.load(folders[name], head=head, endpoint=None).at_latency(80.0 * right)
        expected = [recognizer.tokenizer.pieces[token + 1] for token in values[f"70_{right}/{key}"]]
        offline = recognizer.transcribe(samples)
        stream = recognizer.stream()
        for at in range(0, len(samples), 1237):
            stream.accept(samples[at : at + 1237])
        live = stream.finish()
        for result in (offline, live):
            assert [token.text for token in result.tokens] == expected
        if key == "tokens":
            assert offline.text == " ".join(str(values[f"70_{right}/text"]).replace(" ⁇ ", "<unk>").split())


@pytest.mark.parametrize("name, left, right", CASES)
@torch.no_grad()
def test_streamed_frames_are_the_offline_ones_to_the_last(folders, name, left, right):
    model = load_model(folders[name])[0].at_latency(80.0 * right)
    for size in (
        159,
        160,
        1281,
        40 * 1280,
        40 * 1280 + 33,
        41 * 1280 - 1,
    ):  # no frame, one, and ends at every place of a chunk
        samples = speech()[:, :size, None]
        offline, state, parts = model(samples)[0], None, []
        for at in range(0, size, model.period):  # the first feed is shorter than a period
            y, _, state = model.step(samples[:, at : at + model.period], None, state)
            parts.append(y)
        streamed = torch.cat([*parts, model.flush(state)[0]], 1)
        assert streamed.shape == offline.shape and offline.shape[1] == model.total(size)
        if size >= 160:
            assert float((streamed - offline).abs().max() / offline.abs().max()) < 1e-5
