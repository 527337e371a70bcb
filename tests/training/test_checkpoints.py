"""A checkpoint is written whole or not at all: a disk that fills leaves the one before it; none is read by running code."""

import pickle
import subprocess
import sys

import pytest
import torch

from audiorec.errors import UserError
from audiorec.training.checkpoints import AtomicCheckpointIO, best_checkpoints, read_checkpoint

FULL = """
import resource, signal, torch
from audiorec.training.checkpoints import AtomicCheckpointIO
from audiorec.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    AtomicCheckpointIO().save_checkpoint({"weights": torch.ones(1_000_000)}, "last.ckpt")
except UserError as error:
    print(error)
"""


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path):
    AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(3)}, tmp_path / "last.ckpt")
    done = subprocess.run([sys.executable, "-c", FULL], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.startswith("last.ckpt: the checkpoint cannot be written (") and done.stdout.count("\n") == 1
    assert "make room" in done.stdout, done.stderr
    assert torch.equal(read_checkpoint(tmp_path / "last.ckpt")["weights"], torch.zeros(3))
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a checkpoint was run')",))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(Evil()))
    torch.save({"a": Evil()}, tmp_path / "b.ckpt")
    for name in ("a.ckpt", "b.ckpt", "none.ckpt"):
        with pytest.raises(UserError, match=rf"{name}: (not a checkpoint|no such)") as error:
            read_checkpoint(tmp_path / name)
        assert "\n" not in str(error.value)


def test_best_comes_first(tmp_path):
    for name in ("epoch=003-valid_wer=0.20000", "epoch=001-valid_wer=0.10000", "epoch=002-valid_wer=1.00000"):
        (tmp_path / f"{name}.ckpt").touch()
    (tmp_path / "last.ckpt").touch()
    assert [path.name[6:9] for path in best_checkpoints(tmp_path)] == ["001", "003", "002"]
