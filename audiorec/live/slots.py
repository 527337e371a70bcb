"""``Slots``: what all runners share: which slots are free, and how much audio is fed."""

from audiorec.errors import UserError


class Slots:
    """The slots of a runner that takes ``first_feed`` samples first, then whole ``period``s."""

    def __init__(self, slots: int, first_feed: int, period: int):
        self.slots = slots
        self.first_feed = first_feed
        self.period = period
        self._free = list(reversed(range(slots)))

    def feed_for(self, samples: int) -> int:
        """The least number of samples, the first feed and whole periods, after which all frames of ``samples`` are out."""
        return self.first_feed + max(0, -(-samples // self.period) - 1) * self.period

    def free(self, slot: int) -> None:
        """The stream of this slot is over: another may take it."""
        self._free.append(slot)

    def _must_have_room(self, streams: int) -> None:
        if streams > len(self._free):
            raise UserError(f"runner: {streams} streams begin, and {len(self._free)} of {self.slots} slots are free")

    def _take_slots(self, streams: int) -> list[int]:
        return [self._free.pop() for _ in range(streams)]
