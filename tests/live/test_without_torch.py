"""The host's part runs where torch cannot be imported, over a runner of another make."""

import subprocess
import sys

ALONE = '''
import sys
sys.modules["torch"] = None  # an import of it fails

import numpy as np
from audiorec.live import Engine, Stream
from audiorec.text import train_tokenizer
from audiorec.transcript import ENDPOINT, Ending, Hypothesis

PERIOD = 80


class LoudPeriods:
    """Says "beep" at each period that is loud after one that is not."""

    first_feed = period = PERIOD
    revises, state_bytes = False, 1

    def __init__(self, slots, own=False):
        self.free_slots, self.loud = list(range(slots)), {}

    def feed_for(self, samples):
        return max(1, -(-samples // PERIOD)) * PERIOD

    def hear(self, slot, samples, row):
        parts = []
        for period in samples.reshape(-1, PERIOD):
            loud, before = np.abs(period).max() > 0.5, self.loud.get(slot, False)
            self.loud[slot] = loud
            said = Hypothesis([2], [row.frames], [0.0]) if loud and not before else Hypothesis()
            parts += row.hear(said, 1)
            if row.ends():
                parts += row.end(Hypothesis())
        return parts

    def begin(self, samples, rows, own):
        slots = [self.free_slots.pop() for _ in rows]
        return slots, self.step(slots, samples, rows)

    def step(self, slots, samples, rows):
        return [self.hear(*each) for each in zip(slots, samples, rows)]

    def finish(self, slots, rests, rows, own):
        for slot in slots:
            if slot is not None:
                self.free(slot)
        return [[] for _ in slots], [Ending([Hypothesis()], 1.0) for _ in slots]

    def free(self, slot):
        self.loud.pop(slot, None)
        self.free_slots.append(slot)


class Recognizer:
    sample_rate, frame_seconds, delay, endpoint, tail = 8000, 0.01, None, ENDPOINT, 0
    tokenizer = train_tokenizer("word", ["beep"])
    runner = staticmethod(LoudPeriods)
    usable_endpoint = staticmethod(lambda endpoint: endpoint)


audio = np.zeros(9 * 8000, np.float32)
for start in (0.5, 1.0, 4.0, 8.5):
    audio[int(start * 8000) :][:2000] = 0.9
stream = Stream(Recognizer(), 8000)
ended = stream.accept(audio)
result = stream.finish()
assert [segment.text for segment in result.segments] == ["beep beep", "beep", "beep"], result
assert ended == result.segments[:2]
assert [round(word.start, 3) for word in result.words] == [0.5, 1.0, 4.0, 8.5]
with Engine(Recognizer(), slots=2) as engine:
    sessions = [engine.session() for _ in range(2)]
    for start in range(0, len(audio), 777):
        for session in sessions:
            session.accept((audio[start : start + 777] * 32767).astype("<i2").tobytes())
    assert [session.finish().segments for session in sessions] == [result.segments] * 2
assert not any(name.split(".")[0] == "torch" for name in sys.modules if sys.modules[name])
print("heard")
'''


def test_sessions_and_engine_need_no_torch():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert done.stdout == "heard\n", done.stderr
