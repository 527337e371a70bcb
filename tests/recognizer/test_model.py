"""The caller's model stays as it is, views do not part from it, and every step is in full precision."""

import copy

import pytest
import torch

import audiorec
from audiorec.errors import UserError
from audiorec.models import find_device, load_model
from audiorec.recognizer import Recognizer, recognizer, runner
from tests.conftest import make_model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_callers_model_keeps_its_mode_and_type(model_dir, speech, dtype):
    model, tokenizer, _ = load_model(model_dir)
    model = model.to(dtype).train()
    recognizer = Recognizer(model, tokenizer)
    assert all(module.training for module in model.modules())
    assert all(tensor.dtype == dtype for tensor in model.state_dict().values() if tensor.is_floating_point())
    assert not any(module.training for module in recognizer.model.modules())
    shared = next(model.parameters()) is next(recognizer.model.parameters())
    assert shared == (dtype == torch.float32)
    text = recognizer.transcribe(speech[:32000]).text
    assert text and (dtype == torch.bfloat16 or text == audiorec.load(model_dir).transcribe(speech[:32000]).text)


@pytest.mark.parametrize(
    "make", [lambda model: model.at_latency(0), lambda model: model.view()], ids=["latency", "view"]
)
def test_a_view_refuses_to_part_from_its_model(tmp_path, make):
    contexts = [{"left": 8, "chunk": 3}, {"left": 8}]
    tiny = {"dim": 16, "heads": 2, "layers": 1, "strides": [4], "kernel": 5, "conv_kernel": 3}
    model, *_ = load_model(make_model(tmp_path / "m", kind="conformer", contexts=contexts, **tiny))
    view = make(model)
    for move in (lambda: view.to("meta"), view.double, view.half):
        with pytest.raises(UserError, match="shares its weights, and cannot be moved or cast") as error:
            move()
        assert "\n" not in str(error.value)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    alone = copy.deepcopy(view).double()
    assert next(alone.parameters()).dtype == torch.float64 and next(view.parameters()) is next(model.parameters())
    make(model.double())  # a model with views may be cast; views are made anew
    assert all(buffer.dtype == torch.float64 for buffer in make(model).buffers() if buffer.is_floating_point())


def test_steps_and_searches_run_in_full_precision(model_dir, speech, monkeypatch):
    precise, inside = [0], []

    class Precisely:
        def __init__(self, x):
            assert isinstance(x, torch.Tensor)

        def __enter__(self):
            precise[0] += 1

        def __exit__(self, *_):
            precise[0] -= 1

    for module in (recognizer, runner):
        monkeypatch.setattr(module, "full_precision", Precisely)
    made = audiorec.load(model_dir)
    made.model.features.register_forward_hook(lambda *_: inside.append(precise[0]))
    made.model.head().register_forward_hook(lambda *_: inside.append(precise[0]))
    made.transcribe_batch([speech[:8000]])
    made.transcribe(speech[:8000])
    assert len(inside) >= 3 and set(inside) == {1}


def test_devices_are_usable_or_named_in_one_line(model_dir, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto").type in ("cpu", "mps") and find_device("cpu") == torch.device("cpu")
    for name in ("cuda", "mps", "gpu", "cuda:x"):
        if name == "mps" and torch.backends.mps.is_available():
            continue
        with pytest.raises(UserError, match=rf"^device '?{name}'?: ") as error:
            audiorec.load(model_dir, device=name)
        assert "\n" not in str(error.value) and "auto" in str(error.value)
