"""``full_precision``: float32 stays float32 inside, and what the user chose stands again after it."""

import threading

import pytest
import torch
from audiorec_kernels.precision import full_precision

MATMUL, *(CONV, RNN) = (
    torch.backends.cuda.matmul,
    *(getattr(torch.backends.cudnn, name, None) for name in ("conv", "rnn")),
)
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def settings() -> tuple:
    """Whether products, convolutions and recurrences on a GPU are allowed TF32; and matmul's setting by its other name."""
    return MATMUL.allow_tf32, torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_tf32_is_off_inside_and_restored_after(chosen):
    torch.set_float32_matmul_precision(chosen)
    before = settings()
    with full_precision(CUDA):
        assert settings() == (False, False, "highest")
    assert settings() == before == (chosen != "highest", True, chosen)


def test_nested_blocks_and_exceptions_restore_it_once():
    with full_precision(CUDA):
        with full_precision(CUDA):
            pass
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), full_precision(CUDA):
        raise ZeroDivisionError
    assert torch.backends.cudnn.allow_tf32


def test_threads_that_overlap_restore_it_when_the_last_one_leaves():
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with full_precision(CUDA):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with full_precision(CUDA):
        thread.start()
        assert entered.wait(10)
    assert not torch.backends.cudnn.allow_tf32
    leave.set()
    thread.join()
    assert torch.backends.cudnn.allow_tf32


needs_new_names = pytest.mark.skipif(not hasattr(CONV, "fp32_precision"), reason="before torch 2.9")


@needs_new_names
@pytest.mark.parametrize("device, operator", [(CUDA, MATMUL), (CUDA, CONV), (CUDA, RNN), (CPU, "matmul")])
def test_settings_of_one_operator_are_kept(device, operator):
    """torch refuses to read its old settings once one of the new ones disagrees."""
    operator = torch.backends.mkldnn.matmul if operator == "matmul" else operator
    other = {"tf32": "ieee", "none": "bf16", "ieee": "bf16" if device is CPU else "tf32"}[operator.fp32_precision]
    operator.fp32_precision = other
    with full_precision(device):
        assert operator.fp32_precision in ("ieee", "none")
    assert operator.fp32_precision == other


@needs_new_names
def test_a_processors_narrow_products_are_off_inside():
    torch.set_float32_matmul_precision("medium")
    assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    with full_precision(torch.ones(1)):
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    assert torch.get_float32_matmul_precision() == "medium"


def test_autocast_is_off_inside():
    x = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision(x):
            assert (x @ x).dtype is torch.float32
        assert (x @ x).dtype is torch.bfloat16


def test_the_meta_device_has_nothing_to_switch_off():
    with full_precision(torch.device("meta")):
        assert torch.backends.cudnn.allow_tf32
