"""What was said: hypotheses, words with times, segments, results. No torch: any runtime's tokens become words here."""

from audiorec.transcript.endpoint import ENDPOINT, Endpoint, EndpointConfig, Endpointer, Part, parse_endpoint
from audiorec.transcript.hypothesis import HELD, SPELLED, Ending, Hypothesis
from audiorec.transcript.result import Alternative, Piece, Result, Segment
from audiorec.transcript.split import Searched, split
from audiorec.transcript.times import Delay, WordTimes
from audiorec.transcript.transcript import Transcript

__all__ = [
    "ENDPOINT",
    "HELD",
    "SPELLED",
    "Alternative",
    "Delay",
    "Ending",
    "Endpoint",
    "EndpointConfig",
    "Endpointer",
    "Hypothesis",
    "Part",
    "Piece",
    "Result",
    "Searched",
    "Segment",
    "Transcript",
    "WordTimes",
    "parse_endpoint",
    "split",
]
