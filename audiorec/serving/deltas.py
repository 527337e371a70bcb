"""``Deltas``: words as a text that only grows, for protocols whose clients join what they get."""

from audiorec.live import News
from audiorec.transcript import Segment
from audiorec.transcript.result import join


class Deltas:
    """What ``add`` returns, joined, is ``text``: segments that ended, then what is settled of the one under way."""

    def __init__(self) -> None:
        self.text = ""
        self._ended = ""

    def add(self, news: News) -> str:
        """The piece that comes on top; often none."""
        for segment in news.ended:
            self._ended = self._with(segment)
        grown = self._with(Segment(news.settled, continues=news.under_way.continues))
        if not grown.startswith(self.text):  # what is settled does not change; better late than wrong
            return ""
        delta, self.text = grown[len(self.text) :], grown
        return delta

    def _with(self, segment: Segment) -> str:
        return join([Segment(self._ended), segment]) if self._ended else segment.text
