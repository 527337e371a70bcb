"""Text normalisation, the same before training and before scoring."""

import unicodedata
from typing import Literal

from pydantic import Field

from audiorec.config import Config


class Normalizer(Config):
    """``Normalizer(case="lower")(text)``. Applying it twice changes nothing more.

    case: "lower", "upper" or "none". unicode: "NFC", or "NFKC", which also unfolds ligatures and full-width forms.
    punctuation: False puts a space in place of every punctuation mark but the apostrophe, whose typographic form
    becomes "'". Whitespace always collapses to single spaces.
    """

    case: Literal["lower", "upper", "none"] = Field("none", description="of all letters; none: as they are")
    unicode: Literal["NFC", "NFKC"] = Field("NFC", description="NFKC also unfolds ligatures and full-width forms")
    punctuation: bool = Field(True, description="false: a space in place of every mark but the apostrophe")

    def __call__(self, text: str) -> str:
        text = unicodedata.normalize(self.unicode, text)
        if self.case != "none":
            # A change of case can leave a text that is not normalised, or take a compatibility form apart.
            text = unicodedata.normalize(self.unicode, text.lower() if self.case == "lower" else text.upper())
        if not self.punctuation:
            text = "".join(_without_punctuation(character) for character in text.replace("\u2019", "'"))
        return " ".join(text.split())


def _without_punctuation(character: str) -> str:
    return " " if character != "'" and unicodedata.category(character).startswith("P") else character
