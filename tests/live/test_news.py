"""``news``: each segment once, and text that is settled only grows until its segment ends with it."""

import pytest

import audiorec
from audiorec.transcript import EndpointConfig
from tests.live.recognizers import SETUPS, build

SHORT = EndpointConfig(silence=0.4, silence_after_words=0.2, longest=2.0)


@pytest.mark.parametrize("in_engine", [False, True])
@pytest.mark.parametrize("setup", SETUPS)
def test_what_is_settled_only_grows(setup, in_engine, speech):
    recognizer = build(setup, speech, None if setup == "classify" else SHORT)
    samples = speech[8000:56000]
    with audiorec.Engine(recognizer, slots=2) as engine:
        assert engine.revises == ("kind" in SETUPS[setup][2] or setup in ("classify", "frames"))
        stream = engine.session(segments_only=True) if in_engine else recognizer.stream(segments_only=True)
        segments, shown = [], ""
        for start in range(0, len(samples), 777):
            ended = stream.accept(samples[start : start + 777])
            stream.wait()
            news = stream.news()
            for segment in [*ended, *news.ended]:
                assert segment.text.startswith(shown)
                shown = ""
                segments.append(segment)
            assert news.settled.startswith(shown) and news.under_way.text.startswith(news.settled)
            assert engine.revises or news.under_way.text == news.settled
            shown = news.settled
        rest = stream.finish()
        last = stream.news()
        assert last.ended == rest.segments and not last.under_way.text
    assert [*segments, *last.ended] == recognizer.transcribe(samples).segments
