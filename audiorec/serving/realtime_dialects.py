"""Dialects of the Realtime interface at one address: today's, OpenAI's beta and vLLM's, by a client's first message."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from audiorec.live import News
from audiorec.serving.access import must_be_allowed
from audiorec.serving.openai_realtime import RealtimeTalk
from audiorec.serving.realtime_session import Session
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import parse_object

BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
VLLM_RATE = 16000


class AnyRealtimeTalk(RealtimeTalk):
    """Becomes the talk of the dialect that ``?dialect=`` names, ``beta``, ``nim`` or ``vllm``, or the first message shows."""

    async def prepare(self) -> None:
        dialect = self.query.get("dialect")
        if dialect is not None and dialect not in DIALECTS:
            raise Refused("bad_request", f"dialect: {dialect!r} is not known; choose from {', '.join(DIALECTS)}")
        await super().prepare()

    async def begin(self) -> None:
        dialect = self.query.get("dialect")
        if dialect == "nim":
            await self._event("conversation.created", conversation={"id": f"conv_{self.id}"})
        else:
            await super().begin()
        if dialect is not None:
            self.__class__ = DIALECTS[dialect]  # type: ignore[assignment]

    async def handle(self, message: str | bytes) -> bool:
        kind: type[RealtimeTalk] = RealtimeTalk
        if isinstance(message, str):
            try:
                event = parse_object(message)
            except Refused:
                event = {}
            if event.get("type") == "transcription_session.update":
                kind = BetaTalk
            elif event.get("type") == "session.update" and "session" not in event and "model" in event:
                kind = VllmTalk
        self.__class__ = kind  # type: ignore[assignment]
        return await self.handle(message)


class BetaTalk(RealtimeTalk):
    """OpenAI's first form of it, which NVIDIA's NIM kept: a flat session, and an event of its own to change it."""

    protocol = "openai-realtime-beta"

    @property
    def _answers(self) -> dict[str, Callable[[dict[str, Any]], Awaitable[None]]]:
        answers = super()._answers
        return {"transcription_session.update": answers.pop("session.update"), **answers}

    async def _update(self, event: dict[str, Any]) -> None:
        await super()._update({"session": _from_beta(event.get("session"))})

    async def _session_updated(self) -> None:
        await self._event("transcription_session.updated", session=_to_beta(self.session, self.id))


def _from_beta(session: Any) -> Any:
    """The change of a session in today's form."""
    if not isinstance(session, dict):
        return session
    input: dict[str, Any] = {}
    if "input_audio_format" in session:
        name = session["input_audio_format"]
        if name not in BETA_FORMATS:
            raise Refused("bad_request", f"session.input_audio_format: {name!r}; choose from {', '.join(BETA_FORMATS)}")
        input["format"] = {"type": BETA_FORMATS[name]}
    if "input_audio_transcription" in session:
        input["transcription"] = session["input_audio_transcription"]
    if "turn_detection" in session:
        input["turn_detection"] = session["turn_detection"]
    include = {"include": session["include"]} if "include" in session else {}
    return {"audio": {"input": input}, **include}


def _to_beta(session: Session, id: str) -> dict[str, Any]:
    """The session in the beta's form."""
    input = session.model_dump(mode="json")["audio"]["input"]
    format = {new: old for old, new in BETA_FORMATS.items()}[session.format.type]
    return {
        "id": f"sess_{id}",
        "object": "realtime.transcription_session",
        "input_audio_format": format,
        "input_audio_transcription": input["transcription"],
        "turn_detection": input["turn_detection"],
        "include": session.include,
    }


async def transcription_sessions(request: Request) -> Response:
    """What clients of the beta ask for before they connect. There are no keys but the server's token, so it gives none."""
    must_be_allowed(request, request.app.state.service.access)
    return JSONResponse({**_to_beta(Session(), uuid4().hex), "client_secret": None})


class VllmTalk(RealtimeTalk):
    """vLLM's: audio at 16 kHz, deltas as it comes, and the text when a commit is ``final``. Other commits only begin."""

    protocol = "vllm-realtime"

    async def _update(self, event: dict[str, Any]) -> None:
        model = event.get("model")
        self.service.find(model if isinstance(model, str) else repr(model))
        input = {"transcription": {"model": model}, "format": {"type": "audio/pcm", "rate": VLLM_RATE}}
        self.session = self.session.updated({"audio": {"input": {**input, "turn_detection": None}}})

    async def _append(self, event: dict[str, Any]) -> None:
        if self.stream is None and self.session.format.sample_rate != VLLM_RATE:  # no session.update came
            await self._update({"model": self.service.default.name})
        await super()._append(event)

    async def _commit(self, event: dict[str, Any]) -> None:
        if not event.get("final"):
            return
        await self.last_words()
        self._close_stream()
        tokens = len(self.item.tokens)
        usage = {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens}
        await self._event("transcription.done", text=self.item.deltas.text, usage=usage)
        self._next_item()

    async def tell(self, news: News) -> None:
        self.item.tokens += [token for segment in news.ended for token in segment.tokens]
        if delta := self.item.deltas.add(news):
            await self._event("transcription.delta", delta=delta)

    async def _error(self, refused: Refused, event_id: str | None) -> None:
        await self._event("error", error=str(refused), code=refused.reason)


DIALECTS = {"openai": RealtimeTalk, "beta": BetaTalk, "nim": BetaTalk, "vllm": VllmTalk}
