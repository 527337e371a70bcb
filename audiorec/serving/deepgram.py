"""Deepgram's ``/v1/listen``: options in the query, audio in, ``Results`` out that may be revised until they are final."""

from datetime import datetime, timezone
from math import inf
from typing import Any

from starlette.responses import JSONResponse, Response

from audiorec.live import News
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import Talk, parse_object
from audiorec.transcript import Piece, Segment

ENCODINGS = {"linear16": "int16", "linear32": "float32", "mulaw": "mulaw", "alaw": "alaw"}
UNCHANGING = {
    "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
    "description": "options are those of the query; open another connection",
}


class DeepgramTalk(Talk):
    protocol = "deepgram"
    shown = ""
    start = 0.0  # of what comes after the last final result
    speaking = False

    async def prepare(self) -> None:
        query = self.query
        encoding = query.get("encoding", "")
        if encoding not in ENCODINGS:
            raise Refused("bad_request", f"encoding: {encoding!r} is not taken; send {', '.join(ENCODINGS)}")
        rate = query.get("sample_rate", "")
        if not (rate.isascii() and rate.isdecimal()):
            raise Refused("bad_request", f"sample_rate: {rate!r} is no number of hertz")
        if query.get("channels", "1") != "1":
            raise Refused("bad_request", f"channels: {query['channels']!r} is not taken; send one channel a connection")
        # Boosts differ by service, so `word:2` is that word.
        phrases = [*query.getlist("keyterm"), *(word.partition(":")[0] for word in query.getlist("keywords"))]
        stream = await self.open(
            model=query.get("model"),
            sample_rate=int(rate[:9]),
            encoding=ENCODINGS[encoding],
            hotwords=[phrase for phrase in phrases if phrase],
            silence=_silence(query.get("endpointing", "true")),
        )
        name = stream.served.name
        self.metadata = {
            "request_id": self.id,
            "model_info": {"name": name, "version": "1", "arch": "audiorec"},
            "model_uuid": name,
        }
        self.interim = query.get("interim_results") == "true"

    async def begin(self) -> None:
        self.report_as_it_comes()

    async def handle(self, message: str | bytes) -> bool:
        assert self.stream is not None
        if isinstance(message, bytes) and message:
            await self.stream.push(message)
            return False
        kind = parse_object(message).get("type") if message else "CloseStream"
        if kind == "CloseStream":
            await self.finish()
            return True
        if kind == "Finalize":
            # The words after it go on from those before: begun anew inside a word, its rest might be heard as another one.
            await self.report("carry")
        elif kind == "Configure":  # what is set is set by the query
            await self.send({"type": "ConfigureFailure", "request_id": self.id, **UNCHANGING})
        elif kind != "KeepAlive":
            raise Refused("bad_request", f"type: {kind!r} is not known; send KeepAlive, Finalize or CloseStream")
        return False

    async def tell(self, news: News) -> None:
        assert self.stream is not None
        ended = news.ended or ([Segment()] if self.boundary else [])
        for i, segment in enumerate(ended):
            await self._say_started(segment)
            last = self.boundary is not None and i == len(ended) - 1
            end = self.stream.seconds if last or not segment.words else segment.words[-1].end
            await self._say(segment, end, final=True, finalize=last and self.boundary == "carry")
            if segment.words and self.query.get("utterance_end_ms"):
                event = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": segment.words[-1].end}
                await self.send(event)
            self.shown, self.start, self.speaking = "", max(self.start, end), False
        segment = news.under_way
        await self._say_started(segment)
        if self.interim and segment.text != self.shown:
            self.shown = segment.text
            await self._say(segment, self.stream.seconds)

    async def conclude(self) -> None:
        assert self.stream is not None
        info = self.metadata["model_info"]
        await self.send(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self.id,
                "sha256": "",  # audio is not kept
                "created": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": self.stream.seconds,
                "channels": 1,
                "models": [self.metadata["model_uuid"]],
                "model_info": {self.metadata["model_uuid"]: info},
            }
        )

    async def complain(self, refused: Refused) -> None:
        error = {"type": "Error", "description": str(refused), "message": str(refused), "variant": refused.reason}
        await self.send({**error, "request_id": self.id})

    def denial(self, refused: Refused) -> Response:
        body = {"err_code": refused.reason.upper(), "err_msg": str(refused), "request_id": self.id}
        return JSONResponse(body, refused.status, {"Retry-After": "5"} if refused.status == 503 else None)

    async def _say_started(self, segment: Segment) -> None:
        if segment.words and not self.speaking:
            self.speaking = True
            if self.query.get("vad_events") == "true":
                event = {"type": "SpeechStarted", "channel": [0, 1], "timestamp": segment.words[0].start}
                await self.send(event)

    async def _say(self, segment: Segment, end: float, final: bool = False, finalize: bool = False) -> None:
        start = min(self.start, segment.words[0].start) if segment.words else self.start
        confidence = sum(word.confidence for word in segment.words) / max(1, len(segment.words))
        alternative: dict[str, Any] = {
            "transcript": segment.text,
            "confidence": round(confidence, 6),
            "words": [_word(word) for word in segment.words],
        }
        await self.send(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": start,
                "duration": max(0.0, end - start),
                "is_final": final,
                "speech_final": final,
                "from_finalize": finalize,
                "channel": {"alternatives": [alternative]},
                "metadata": self.metadata,
            }
        )


def _silence(endpointing: str) -> float | None:
    """Seconds of silence that end a result; None: as the server has it. ``false`` ends none."""
    if endpointing in ("true", "false"):
        return None if endpointing == "true" else inf
    if not (endpointing.isascii() and endpointing.isdecimal() and 10 <= int(endpointing[:9]) <= 60_000):
        raise Refused(
            "bad_request", f"endpointing: {endpointing!r} is neither true, false nor 10 to 60000 milliseconds"
        )
    return int(endpointing) / 1000


def _word(word: Piece) -> dict[str, Any]:
    times = {"start": word.start, "end": word.end}
    return {"word": word.text, **times, "confidence": round(word.confidence, 6), "punctuated_word": word.text}
