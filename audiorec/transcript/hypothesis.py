"""``Hypothesis``: tokens that a search has found, each with the frame that emitted it."""

from dataclasses import dataclass, field

# In ``Hypothesis.words``:
SPELLED = "\u2581"  # a token of a word that its pieces spell
HELD = "\u2581="  # the last token of a word that it spells alone; those before say that it lasts


@dataclass
class Hypothesis:
    """One row's tokens as lists, and the score of the whole relative to the best one's, a natural logarithm.

    ``words`` are those that a search of words found, one a token: the word that ends with it, "" if that is silence, None inside
    of a word, SPELLED where the search left it to the pieces, HELD where this piece is the word. Without such a search the list
    is empty: all words are spelled.
    """

    ids: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    score: float = 0.0
    words: list[str | None] = field(default_factory=list)

    def append(self, token: int, frame: int, log_prob: float) -> None:
        """Say one more token."""
        self.ids.append(token)
        self.frames.append(frame)
        self.log_probs.append(log_prob)

    def extend(self, later: "Hypothesis") -> None:
        """Say ``later`` too."""
        self.ids += later.ids
        self.frames += later.frames
        self.log_probs += later.log_probs
        self.words += later.words

    def __add__(self, later: "Hypothesis") -> "Hypothesis":
        return Hypothesis(
            self.ids + later.ids,
            self.frames + later.frames,
            self.log_probs + later.log_probs,
            later.score,
            self.words + later.words,
        )

    def __getitem__(self, part: slice) -> "Hypothesis":
        return Hypothesis(self.ids[part], self.frames[part], self.log_probs[part], words=self.words[part])


@dataclass(frozen=True)
class Ending:
    """How a stream may end after its committed tokens, best first. ``margin``: the gap of the two best scores, which rounding
    may close."""

    nbest: list[Hypothesis]
    margin: float

    @property
    def best(self) -> Hypothesis:
        return self.nbest[0]
