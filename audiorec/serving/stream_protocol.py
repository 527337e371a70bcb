"""``/v1/stream``: our own protocol, small and documented (docs/serving.md)."""

from typing import Any, Literal

from pydantic import Field

from audiorec.config import Config, parse
from audiorec.errors import UserError
from audiorec.live import Boundary, News
from audiorec.serving.events import final_event, partial_event, segment_fields
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import Talk, parse_object
from audiorec.transcript import Segment
from audiorec.transcript.result import join


class Search(Config):
    hotwords: tuple[str, ...] = ()
    hotwords_score: float | None = Field(None, gt=0, allow_inf_nan=False)


class Begin(Config):
    type: Literal["config"]
    model: str | None = None
    sample_rate: int | None = None
    encoding: Literal["int16", "float32"] = "int16"
    partials: bool = True
    segments: bool = True
    search: Search = Search()


class Flush(Config):
    type: Literal["flush"]
    boundary: Boundary = "carry"
    id: str | int | None = None


class Finish(Config):
    type: Literal["finish"]


MESSAGES: dict[Any, type[Config]] = {"config": Begin, "flush": Flush, "finish": Finish}


class StreamTalk(Talk):
    protocol = "stream"
    config: Begin | None = None
    number = 0  # of the next segment
    shown: tuple[str, str] = ("", "")
    kept: list[Segment]

    async def handle(self, message: str | bytes) -> bool:
        if isinstance(message, bytes):
            if self.stream is None:
                raise Refused("bad_request", 'audio before the config: send {"type": "config"} first')
            await self.stream.push(message)
            return False
        said = _read(message)
        if isinstance(said, Begin):
            await self._begin(said)
        elif self.stream is None:
            raise Refused("bad_request", 'type: send {"type": "config"} first')
        elif isinstance(said, Flush):
            await self.report(said.boundary)
            await self.send({"type": "flushed", "boundary": said.boundary, "id": said.id})
        else:
            await self.finish()
            return True
        return False

    async def _begin(self, config: Begin) -> None:
        if self.stream is not None:
            raise Refused("bad_request", "type: config was sent already; open another connection")
        stream = await self.open(
            model=config.model,
            sample_rate=config.sample_rate,
            encoding=config.encoding,
            hotwords=config.search.hotwords,
            hotwords_score=config.search.hotwords_score,
            must_use=True,
        )
        self.config, self.kept = config, []
        ready = {"type": "ready", "session": self.id, "model": stream.served.name, "sample_rate": stream.sample_rate}
        await self.send(ready)
        self.report_as_it_comes()

    async def tell(self, news: News) -> None:
        assert self.config is not None
        before = ""
        if self.config.segments:
            for segment in news.ended:
                await self.send(final_event(self.number, segment))
                self.number += 1
                self.shown = ("", "")
        else:
            self.kept += news.ended
            before = join(self.kept)
        if not self.config.partials:
            return
        segment, settled = news.under_way, news.settled
        if before:  # all of it is one text
            settled = join([*self.kept, Segment(settled, continues=segment.continues)])
            segment = _joined([*self.kept, segment])
        if (segment.text, settled) != self.shown:
            self.shown = segment.text, settled
            await self.send(partial_event(self.number, segment, settled))

    async def conclude(self) -> None:
        assert self.stream is not None or self.config is None
        if self.config is None or self.stream is None:
            return
        end: dict[str, Any] = {"type": "end", "seconds": self.stream.seconds}
        if self.config.segments:
            end["segments"] = self.number
        else:
            end |= segment_fields(_joined(self.kept))
        await self.send(end)

    async def complain(self, refused: Refused) -> None:
        await self.send({"type": "error", "code": refused.reason, "message": str(refused)})


def _read(message: str) -> Config:
    given = parse_object(message)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in MESSAGES:
        raise Refused("bad_request", f"type: {kind!r} is not known; send {', '.join(MESSAGES)}")
    try:
        return parse(MESSAGES[kind], given)
    except UserError as error:
        raise Refused("bad_request", str(error)) from None


def _joined(segments: list[Segment]) -> Segment:
    return Segment(join(segments), [word for segment in segments for word in segment.words])
