"""Slots: a stream gives the same tokens in any slot, beside any others, and a slot that does not step is not touched."""

import random

import numpy as np
import pytest
import torch

import audiorec
from audiorec.audio.levels import Levels
from audiorec.errors import UserError
from audiorec.recognizer.runner import Runner
from audiorec.streaming import leaves, map_state
from audiorec.transcript import Endpointer, Hypothesis


@pytest.fixture(scope="module", params=["greedy", "beam"])
def recognizer(model_dir, request):
    return audiorec.load(model_dir, search={"kind": request.param})


def make_runner(recognizer, slots: int) -> Runner:
    return recognizer.runner(slots)


def row(recognizer) -> Endpointer:
    """The host's part of a stream that is one segment."""
    return Endpointer(None, recognizer.frame_seconds, Levels(8000), recognizer.tokenizer.begins_word)


def extend(committed: Hypothesis, parts) -> None:
    for part in parts:
        committed.extend(part.tokens)


def test_streams_that_come_and_go_give_the_tokens_of_the_whole(recognizer, speech):
    draw, runner = random.Random(0), make_runner(recognizer, 3)
    first, period = recognizer.model.first_feed, recognizer.model.period
    waiting = [speech[i * 7001 : i * 7001 + draw.randrange(100, 16000)] for i in range(12)]
    live, results = {}, []
    while waiting or live:
        while waiting and len(live) < 3:
            samples, committed, host = waiting.pop(), Hypothesis(), row(recognizer)
            if len(samples) < first:
                (parts,), (ending,) = runner.finish([None], samples[None], [host], [None])
                extend(committed, parts)
                results.append((samples, committed + ending.best))
                continue
            (slot,), (parts,) = runner.begin(samples[None, :first], [host], [None])
            extend(committed, parts)
            live[slot] = [samples, first, committed, host]
        for slot in [slot for slot, (samples, at, *_) in live.items() if len(samples) - at < period]:
            samples, at, committed, host = live.pop(slot)
            (parts,), (ending,) = runner.finish([slot], samples[None, at:], [host], [None])
            extend(committed, parts)
            results.append((samples, committed + ending.best))
        if slots := draw.sample(sorted(live), draw.randint(0, len(live))):
            batch = np.stack([live[slot][0][live[slot][1] :][:period] for slot in slots])
            hosts = [live[slot][3] for slot in slots]
            for slot, parts in zip(slots, runner.step(slots, batch, hosts), strict=True):
                live[slot][1] += period
                extend(live[slot][2], parts)
    assert len(results) == 12 and any(best.ids for _, best in results)
    for samples, best in results:
        alone = recognizer.transcribe(samples)
        frames = [round(token.start / recognizer.model.frame_seconds) for token in alone.tokens]
        assert best.frames == frames
        assert [recognizer.tokenizer.pieces[i] for i in best.ids] == [token.text for token in alone.tokens]


def test_slots_that_do_not_step_are_kept_bit_for_bit(recognizer, speech):
    runner = make_runner(recognizer, 4)
    first, period = recognizer.model.first_feed, recognizer.model.period
    hosts = [row(recognizer) for _ in range(4)]
    slots, _ = runner.begin(np.stack([speech[i * 8000 :][:first] for i in range(4)]), hosts, [None] * 4)
    pool = {name: leaf.data_ptr() for name, leaf in leaves(runner._state)}
    before = map_state(torch.clone, runner._state)
    runner.step([slots[2]], speech[None, first : first + period], hosts[2:3])
    others = [slot for slot in range(4) if slot != slots[2]]
    for (name, leaf), (_, old) in zip(leaves(runner._state), leaves(before), strict=True):
        assert torch.equal(leaf[others], old[others]) and leaf.data_ptr() == pool[name], name
    with pytest.raises(UserError, match="1 streams begin, and 0 of 4 slots are free"):
        runner.begin(speech[None, :first], hosts[:1], [None])
