"""OpenAI's Realtime interface, sessions that transcribe: base64 audio in, and texts out that only ever grow.

Audio belongs to an item, whose deltas, joined, are its transcript. An item ends by the client's commit, or with turn detection
where a segment of speech ends. The next one goes on from there (the boundary ``carry``), so a commit loses and doubles no word.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from audiorec.live import News
from audiorec.serving.deltas import Deltas
from audiorec.serving.formats import token_log_probs
from audiorec.serving.realtime_session import Session
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import Talk, parse_object
from audiorec.transcript import Piece, Segment

MENDABLE = {"bad_request", "bad_audio", "unknown_model"}  # the client is told, and may go on
MOST_ERRORS = 20  # but not for ever
TRANSCRIPTION = "conversation.item.input_audio_transcription"


class Item:
    """A stretch of audio between two commits."""

    def __init__(self, start: float, previous: str | None):
        self.id = f"item_{uuid4().hex[:20]}"
        self.start, self.previous = start, previous
        self.deltas = Deltas()
        self.tokens: list[Piece] = []
        self.spoken = False  # whether its speech_started was sent


class RealtimeTalk(Talk):
    protocol = "openai-realtime"
    errors = 0
    before = 0.0  # seconds of audio of streams that were closed

    async def prepare(self) -> None:
        self.session = Session()
        model = self.query.get("model")
        if model:
            self.service.find(model)
            self.session = self.session.updated({"audio": {"input": {"transcription": {"model": model}}}})
        self.item = Item(0.0, None)

    async def begin(self) -> None:
        await self._event("session.created", session=self._session())

    async def handle(self, message: str | bytes) -> bool:
        event_id = None
        try:
            if isinstance(message, bytes):
                raise Refused("bad_request", "send events as text: JSON, audio in base64")
            event = parse_object(message)
            event_id = event.get("event_id")
            kind = event.get("type")
            answer = self._answers.get(kind) if isinstance(kind, str) else None
            if answer is None:
                raise Refused("bad_request", f"type: {kind!r} is not known; send {', '.join(self._answers)}")
            await answer(event)
        except Refused as refused:
            self.errors += 1
            if refused.reason not in MENDABLE or self.errors >= MOST_ERRORS:
                raise
            self.service.count(refused, id=self.id, protocol=self.protocol)
            await self._error(refused, event_id if isinstance(event_id, str) else None)
        return False

    @property
    def _answers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        buffer = "input_audio_buffer"
        return {
            "session.update": self._update,
            f"{buffer}.append": self._append,
            f"{buffer}.commit": self._commit,
            f"{buffer}.clear": self._clear,
        }

    async def _update(self, event: dict[str, Any]) -> None:
        session = self.session.updated(event.get("session"))
        self.service.find(session.transcription.model)
        if self.stream is not None:
            kept = (
                ("format", lambda s: s.format),
                ("transcription", lambda s: s.transcription),
                ("turn_detection.silence_duration_ms", lambda s: s.silence),
            )
            for name, part in kept:
                if part(session) != part(self.session):
                    raise Refused(
                        "bad_request", f"session.audio.input.{name}: cannot change after audio; clear the buffer first"
                    )
        self.session = session
        await self._session_updated()

    async def _session_updated(self) -> None:
        await self._event("session.updated", session=self._session())

    async def _append(self, event: dict[str, Any]) -> None:
        audio = event.get("audio")
        try:
            if not isinstance(audio, str):
                raise ValueError
            data = base64.b64decode(audio, validate=True)
        except (ValueError, binascii.Error):
            raise Refused("bad_request", "audio: is no base64") from None
        if self.stream is None:
            session = self.session
            await self.open(
                model=session.transcription.model,
                sample_rate=session.format.sample_rate,
                encoding=session.format.encoding,
                hotwords=session.transcription.keywords or (),
                silence=session.silence,
            )
            self.report_as_it_comes()
        assert self.stream is not None
        await self.stream.push(data)

    async def _commit(self, event: dict[str, Any]) -> None:
        if self._now() <= self.item.start:
            raise Refused("bad_request", "input_audio_buffer.commit: there is no audio since the last commit")
        await self.report("carry")

    async def _clear(self, event: dict[str, Any]) -> None:
        await self._stop_reporter()
        self._close_stream()
        self.item = Item(self._now(), self.item.previous)
        await self._event("input_audio_buffer.cleared")

    def _close_stream(self) -> None:
        """The next audio opens another, whose times go on from here."""
        stream, self.stream = self.stream, None
        if stream is not None:
            self.before += stream.seconds
            stream.close()

    async def tell(self, news: News) -> None:
        by_turns = self.session.by_turns
        if by_turns:
            for segment in news.ended:
                await self._say(News([segment], Segment(), ""))
                await self._complete(segment)
            if self.boundary == "carry" and not news.ended:
                await self._complete(None)
            await self._say(news._replace(ended=[]))
        else:
            await self._say(news)
            if self.boundary is not None and self._now() > self.item.start:
                await self._complete(None)

    async def complain(self, refused: Refused) -> None:
        await self._error(refused, None)

    async def _say(self, news: News) -> None:
        """The next piece of the item's text."""
        item = self.item
        tokens = [token for segment in news.ended for token in segment.tokens]
        item.tokens += tokens
        if not (delta := item.deltas.add(news)):
            return
        words = [*(word for segment in news.ended for word in segment.words), *news.under_way.words]
        if self.session.by_turns and not item.spoken and words:
            item.spoken = True
            start = self._ms(words[0].start)
            await self._event("input_audio_buffer.speech_started", item_id=item.id, audio_start_ms=start)
        await self._event(f"{TRANSCRIPTION}.delta", item_id=item.id, content_index=0, delta=delta)

    async def _complete(self, segment: Segment | None) -> None:
        """The item ends, with this segment if it ended by it."""
        item, now = self.item, self._now()
        if item.spoken:
            end = now * 1000 if segment is None or not segment.words else self._ms(segment.words[-1].end)
            await self._event("input_audio_buffer.speech_stopped", item_id=item.id, audio_end_ms=int(end))
        await self._event("input_audio_buffer.committed", item_id=item.id, previous_item_id=item.previous)
        usage = {"type": "duration", "seconds": max(0.0, now - item.start)}
        completed = {"item_id": item.id, "content_index": 0, "transcript": item.deltas.text, "usage": usage}
        if "item.input_audio_transcription.logprobs" in (self.session.include or ()):
            completed["logprobs"] = token_log_probs(item.tokens)
        await self._event(f"{TRANSCRIPTION}.completed", **completed)
        self._next_item()

    def _next_item(self) -> None:
        self.item = Item(self._now(), self.item.id)

    def _now(self) -> float:
        """Seconds of audio that came."""
        return self.before + (0.0 if self.stream is None else self.stream.seconds)

    def _ms(self, seconds: float) -> int:
        return max(0, round((self.before + seconds) * 1000))

    def _session(self) -> dict[str, Any]:
        session = self.session.model_dump(mode="json")
        session["audio"]["input"]["format"] = {"type": self.session.format.type}
        if self.session.format.type == "audio/pcm":
            session["audio"]["input"]["format"]["rate"] = self.session.format.sample_rate
        return {"id": f"sess_{self.id}", "object": "realtime.transcription_session", **session}

    async def _event(self, kind: str, **facts: Any) -> None:
        await self.send({"type": kind, "event_id": f"event_{uuid4().hex[:20]}", **facts})

    async def _error(self, refused: Refused, event_id: str | None) -> None:
        kind = "server_error" if refused.status >= 500 else "invalid_request_error"
        error = {"type": kind, "code": refused.reason, "message": str(refused), "param": None, "event_id": event_id}
        await self._event("error", error=error)
