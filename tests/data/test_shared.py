"""Samples that workers share: each is decoded once, by whichever comes first, and all have the same."""

import multiprocessing
import pickle

import numpy as np
import pytest

from audiorec.data.shared import SharedSamples


def _put(shared: SharedSamples, first: int) -> None:
    for name in range(100):
        if shared.get(name) is None:
            shared.put(name, np.full(name + 1, first, np.float32))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_processes_at_once_keep_each_key_once_and_whole(start):
    shared, context = SharedSamples(10**6), multiprocessing.get_context(start)
    workers = [context.Process(target=_put, args=(shared, first)) for first in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    for name in range(100):
        samples = shared.get(name)
        assert len(samples) == name + 1 and samples[0] in (1, 2, 3) and (samples == samples[0]).all()
    assert shared._samples.stat().st_size == 4 * sum(range(1, 101))


def test_what_does_not_fit_is_not_kept_and_the_files_go_with_their_owner():
    shared = SharedSamples(40)
    shared.put("a", np.arange(8, dtype=np.float32))
    shared.put("b", np.arange(3, dtype=np.float32))
    shared.put("c", np.arange(2, dtype=np.float32))
    assert shared.get("b") is None and shared.get("a").tolist() == list(range(8)) and len(shared.get("c")) == 2
    folder = shared._samples.parent
    other = pickle.loads(pickle.dumps(shared))
    assert other.get("a").tolist() == list(range(8))
    del other
    assert folder.exists()
    del shared
    assert not folder.exists()
