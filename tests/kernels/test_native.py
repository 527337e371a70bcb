"""The native library: exact at the ends of float32, alive in forked workers, clean of bad memory, or absent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from audiorec_kernels import backend, native
from audiorec_kernels.conv import causal_conv1d
from audiorec_kernels.scan import linear_scan, linear_scan_step, log_linear_scan

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
LAWS = "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("test_laws.py"))


def python(*arguments: str, timeout: float = 120, **environment: str) -> str:
    """What a fresh interpreter says, or the test fails with it."""
    command, env = [sys.executable, *arguments], {**ENVIRONMENT, **environment}
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def sweep(low: float, high: float) -> torch.Tensor:
    """(N, 1, 1): many numbers, and those that are none."""
    odd = torch.tensor([torch.inf, -torch.inf, torch.nan, 0.0])
    return torch.cat([torch.linspace(low, high, 100_001), odd])[:, None, None]


@pytest.mark.parametrize(
    ("function", "exact", "x"),
    [
        (lambda x: causal_conv1d(x, torch.ones(1, 1), activation="silu")[0], torch.nn.functional.silu, sweep(-80, 100)),
        (lambda x: log_linear_scan(torch.full_like(x, -torch.inf), x)[0], torch.exp, sweep(-87, 89)),
    ],
    ids=["silu", "exp"],
)
def test_its_own_functions_are_right_to_a_few_ulp(function, exact, x):
    y, wanted = function(x), exact(x.double()).float()
    torch.testing.assert_close(y, wanted, rtol=4e-7, atol=1e-37, equal_nan=True)


def test_log_scan_leaves_the_range_of_float32_and_returns():
    log_a = torch.tensor([0.0, -200, -900, 1090, 5, 300, -310])[None, :, None]
    log_b = torch.tensor([1.0, -300, -1200, -50, -torch.inf, -torch.inf, 2])[None, :, None]
    y, h = log_linear_scan(log_a, log_b)
    wanted, _ = log_linear_scan(log_a.double(), log_b.double())
    assert y[0, 1:3].eq(0).all() and y[0, 5].isinf().all()
    torch.testing.assert_close(y, wanted.float(), rtol=1e-5, atol=0)
    torch.testing.assert_close(h[0], y[0, -1])


def test_a_step_is_a_scan_of_one_frame():
    a, b, h = torch.randn(3, 2, 7)
    wanted, _ = linear_scan(a[:, None], b[:, None], h)
    torch.testing.assert_close(linear_scan_step(a, b, h), wanted[:, 0])
    linear_scan_step(a, b, h, out=h)
    torch.testing.assert_close(h, wanted[:, 0])


FORK = """
import torch
from audiorec_kernels.scan import linear_scan

class Scans(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, row):
        torch.set_num_threads(2)  # a loader's worker has one, unless somebody says otherwise
        torch.manual_seed(row)
        return linear_scan(*torch.rand(2, 4, 500, 64))[1]

torch.set_num_threads(2)
here = [Scans()[row] for row in range(4)]  # starts the threads that a fork loses
loader = torch.utils.data.DataLoader(Scans(), batch_size=None, num_workers=2, timeout=60, multiprocessing_context="fork")
assert all(torch.equal(a, b) for a, b in zip(here, loader, strict=True))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_worker_survives():
    python("-c", FORK)


ABSENT = """
import torch
from audiorec_kernels import backend
from audiorec_kernels.scan import linear_scan

for _ in range(2):
    linear_scan(*torch.rand(2, 1, 3, 2))
assert backend()["cpu"] == "reference"
try:
    backend("native")
except ValueError as error:
    print(error)
"""


def test_without_the_library_the_reference_serves_and_says_so_once():
    said = python("-c", ABSENT, AUDIOREC_KERNELS_LIBRARY="nowhere.so")
    assert said.count("plain torch serves the CPU") == 1
    assert "backend: native cannot serve: it was installed without a compiler" in said


def test_backends_are_shown_and_forced():
    shown = backend()
    assert shown["cpu"] == ("native" if native.LIBRARY else "reference")
    with backend("reference"):
        assert backend()["cpu"] == "reference"
    assert backend() == shown
    with pytest.raises(ValueError, match="must be one of auto, triton, native, reference, got 'fast'"):
        backend("fast")


def test_double_precision_is_the_references():
    a = torch.rand(1, 3, 2, dtype=torch.float64)
    with backend("native"):
        assert linear_scan(a, a)[0].dtype is torch.float64


X, STATE = torch.zeros(2, 5, 3), torch.zeros(2, 3)
COUNTS = torch.tensor([5, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"b": X[:, :4]}, "b must be (B = 2, T = 5, D = 3), got (2, 4, 3)"),
        ({"b": X[0]}, "b must be (B = 2, T = 5, D = 3), got (5, 3)"),
        ({"initial_state": STATE[:1]}, "initial_state must be (B = 2, D = 3), got (1, 3)"),
        ({"a": X.long()}, "a must be floating point, got torch.int64"),
        ({"a": X.double()}, "b is torch.float32, a torch.float64; float64 goes with float64"),
        ({"b": X.to("meta")}, "b is on meta, a on cpu; move one"),
        ({"lengths": COUNTS[:1]}, "lengths must be (B = 2), got (1,)"),
        ({"lengths": COUNTS + 1}, "lengths must lie in 0 … 5, the frames given; got 6"),
        ({"lengths": COUNTS - 1}, "lengths must lie in 0 … 5, the frames given; got -1"),
        ({"lengths": COUNTS.float()}, "lengths must be int64 or int32, got torch.float32"),
        ({"lengths": COUNTS.to("meta")}, "lengths is on meta, a on cpu; move one"),
        ({"reset": torch.zeros(2, 4, dtype=torch.bool)}, "reset must be (B = 2, T = 5), got (2, 4)"),
        ({"reset": torch.zeros(2, 5)}, "reset must be bool, got torch.float32"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError) as raised:
        linear_scan(**{"a": X, "b": X, **arguments})
    assert str(raised.value) == f"linear_scan: {message}"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["baseline", "avx2"])
def test_the_laws_hold_at_lower_instruction_set_levels(level):
    if level != "baseline" and native.LIBRARY.audiorec_level() not in (b"avx2", b"avx512"):
        pytest.skip("this machine has no AVX2")
    python(*LAWS, "-k", "reference_in_float64 or strides or padding", AUDIOREC_KERNELS_LEVEL=level, timeout=600)


@pytest.mark.slow
def test_the_address_sanitizer_finds_nothing(tmp_path):
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if not compiler or not shutil.which("cmake"):
        pytest.skip("no g++ or no cmake to build with")
    options = "-DAUDIOREC_SANITIZE=ON", f"-DAUDIOREC_OUTPUT={tmp_path}", f"-DCMAKE_CXX_COMPILER={compiler}"
    for command in (
        ["-S", "kernels/cmake", "-B", str(tmp_path / "build"), *options],
        ["--build", str(tmp_path / "build")],
    ):
        built = subprocess.run(["cmake", *command], cwd=ROOT, capture_output=True, text=True)
        assert built.returncode == 0, built.stdout + built.stderr
    runtime = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
    library = str(tmp_path / "libaudiorec_kernels.so")
    environment = {"LD_PRELOAD": runtime, "ASAN_OPTIONS": "detect_leaks=0", "AUDIOREC_KERNELS_LIBRARY": library}
    # Compilers and tracers call the same kernels, and take minutes under the sanitizer.
    python(*LAWS, "-k", "not compiles and not export and not operators", timeout=600, **environment)
    python(*LAWS[:-1], "tests/search/test_native.py", "tests/runtime/test_beam.py", timeout=600, **environment)
