"""vosk-server's protocol: 16-bit samples in, and exactly one answer to each message of audio, for its clients wait for it."""

from typing import Any

from pydantic import Field

from audiorec.config import Config, parse
from audiorec.errors import UserError
from audiorec.live import News
from audiorec.serving.refusal import Refused
from audiorec.serving.talk import Talk, parse_object
from audiorec.transcript import Result


class VoskConfig(Config, extra="ignore"):
    """What vosk's clients send beside these is not for us."""

    sample_rate: float = Field(8000, ge=1, le=1e6)
    phrase_list: tuple[str, ...] = ()
    words: bool = True
    max_alternatives: int = 0
    model: str | None = None


class VoskTalk(Talk):
    protocol = "vosk"
    config = VoskConfig()

    async def handle(self, message: str | bytes) -> bool:
        if isinstance(message, bytes):
            stream = await self._stream()
            await stream.push(message)
            await stream.wait()
            await self.report()
            return False
        said = parse_object(message)
        if "config" in said:
            self._configure(said["config"])
        elif said.get("reset"):
            await self._stream()
            await self.report("reset")
        elif said.get("eof"):
            await self._stream()
            await self.finish()
            return True
        else:
            raise Refused("bad_request", 'send {"config": …}, {"reset": 1}, {"eof": 1}, or bytes of audio')
        return False

    async def tell(self, news: News) -> None:
        if not news.ended and not self.boundary:
            await self.send({"partial": news.under_way.text})
            return
        heard = Result(news.ended)
        words = [
            {"conf": round(word.confidence, 6), "end": word.end, "start": word.start, "word": word.text}
            for word in heard.words
        ]
        answer: dict[str, Any] = {"result": words} if words and self.config.words else {}
        answer["text"] = heard.text
        if self.config.max_alternatives:
            answer = {"alternatives": [{"confidence": 1.0, **answer}]}
        await self.send(answer)

    def _configure(self, given: Any) -> None:
        if not isinstance(given, dict):
            raise Refused("bad_request", f"config: must be an object, not {type(given).__name__}")
        try:
            config = parse(VoskConfig, given, prefix="config")
        except UserError as error:
            raise Refused("bad_request", str(error)) from None
        if self.stream is not None and config.sample_rate != self.config.sample_rate:
            raise Refused("bad_request", "config.sample_rate: cannot change after audio; open another connection")
        self.config = config

    async def _stream(self) -> Any:
        if self.stream is None:
            config = self.config
            await self.open(
                model=config.model or self.query.get("model"),
                sample_rate=int(config.sample_rate),
                hotwords=[phrase for phrase in config.phrase_list if phrase != "[unk]"],
            )
        return self.stream
