"""sherpa-onnx's streaming protocol: float samples in, a JSON object whenever the words change, ``Done`` at the end."""

from audiorec.live import News
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import Talk
from audiorec.serving.vosk import VoskTalk
from audiorec.transcript import Segment


class SherpaTalk(Talk):
    protocol = "sherpa-onnx"
    number = 0
    shown = ""

    async def handle(self, message: str | bytes) -> bool:
        if self.stream is None:
            rate = self.query.get("sample_rate", "")
            if rate and not rate.isdecimal():
                raise Refused("bad_request", f"sample_rate: {rate!r} is no number of hertz")
            await self.open(model=self.query.get("model"), sample_rate=int(rate) if rate else None, encoding="float32")
            self.report_as_it_comes()
        assert self.stream is not None
        if isinstance(message, bytes):
            await self.stream.push(message)
            return False
        if message != "Done":
            raise Refused("bad_request", "send float32 samples, and `Done` at the end")
        await self.finish()
        return True

    async def tell(self, news: News) -> None:
        eof = self.boundary == "end"
        ended = news.ended or ([Segment()] if eof else [])
        for i, segment in enumerate(ended):
            await self._say(segment, final=True, eof=eof and i == len(ended) - 1)
            self.number += 1
            self.shown = ""
        if news.under_way.text != self.shown:
            self.shown = news.under_way.text
            await self._say(news.under_way)

    async def conclude(self) -> None:
        await self.send("Done!")

    async def _say(self, segment: Segment, final: bool = False, eof: bool = False) -> None:
        start = segment.tokens[0].start if segment.tokens else 0.0
        await self.send(
            {
                "text": segment.text,
                "tokens": [token.text for token in segment.tokens],
                "timestamps": [round(token.start - start, 6) for token in segment.tokens],
                "segment": self.number,
                "start_time": start,
                "is_final": final,
                "is_eof": eof,
            }
        )


class RootTalk(Talk):
    """Clients of both connect to ``/``. vosk's begin with a text, sherpa-onnx's with audio."""

    protocol = "root"

    async def handle(self, message: str | bytes) -> bool:
        text = isinstance(message, str) and message != "Done"
        self.__class__ = VoskTalk if text else SherpaTalk  # type: ignore[assignment]
        return await self.handle(message)

    async def tell(self, news: News) -> None:
        raise AssertionError("it has become another")
