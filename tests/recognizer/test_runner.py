"""Slots: a stream gives the same tokens in any slot, beside any others, and a slot that does not step is not touched."""

import random

import numpy as np
import pytest
import torch

import audiorec
from audiorec.errors import UserError
from audiorec.recognizer.runner import Runner
from audiorec.search import Hypothesis
from audiorec.streaming import leaves, map_state


@pytest.fixture(scope="module", params=["greedy", "beam"])
def recognizer(model_dir, request):
    return audiorec.load(model_dir, search={"kind": request.param})


def make_runner(recognizer, slots: int) -> Runner:
    return Runner(recognizer.model, recognizer.search(), slots, recognizer.device)


def test_streams_that_come_and_go_give_the_tokens_of_the_whole(recognizer, speech):
    draw, runner = random.Random(0), make_runner(recognizer, 3)
    first, period = recognizer.model.first_feed, recognizer.model.period
    waiting = [speech[i * 7001 : i * 7001 + draw.randrange(100, 16000)] for i in range(12)]
    live, results = {}, []
    while waiting or live:
        while waiting and len(live) < 3:
            samples, committed = waiting.pop(), Hypothesis()
            if len(samples) < first:
                results.append((samples, runner.finish(None, samples, committed)))
                continue
            (slot,), (tokens,) = runner.begin(samples[None, :first])
            committed.extend(tokens)
            live[slot] = [samples, first, committed]
        for slot in [slot for slot, (samples, at, _) in live.items() if len(samples) - at < period]:
            samples, at, committed = live.pop(slot)
            results.append((samples, runner.finish(slot, samples[at:], committed)))
        if slots := draw.sample(sorted(live), draw.randint(0, len(live))):
            batch = np.stack([live[slot][0][live[slot][1] :][:period] for slot in slots])
            for slot, tokens in zip(slots, runner.step(slots, batch), strict=True):
                live[slot][1] += period
                live[slot][2].extend(tokens)
    assert len(results) == 12 and any(one.best.ids for _, one in results)
    for samples, decoded in results:
        alone = recognizer.transcribe(samples)
        frames = [round(token.start / recognizer.model.frame_seconds) for token in alone.tokens]
        assert decoded.best.frames == frames
        assert [recognizer.tokenizer.pieces[i] for i in decoded.best.ids] == [token.text for token in alone.tokens]


def test_slots_that_do_not_step_are_kept_bit_for_bit(recognizer, speech):
    runner = make_runner(recognizer, 4)
    first, period = recognizer.model.first_feed, recognizer.model.period
    slots, _ = runner.begin(np.stack([speech[i * 8000 :][:first] for i in range(4)]))
    pool = {name: leaf.data_ptr() for name, leaf in leaves(runner._state)}
    before = map_state(torch.clone, runner._state)
    runner.step([slots[2]], speech[None, first : first + period])
    others = [slot for slot in range(4) if slot != slots[2]]
    for (name, leaf), (_, old) in zip(leaves(runner._state), leaves(before), strict=True):
        assert torch.equal(leaf[others], old[others]) and leaf.data_ptr() == pool[name], name
    with pytest.raises(UserError, match="1 streams begin, and 0 of 4 slots are free"):
        runner.begin(speech[None, :first])
