"""After its last sample a recogniser hears silence, since a word may be emitted after its end."""

import numpy as np
import pytest

import audiorec
from tests.live.recognizers import DELAY, SETUPS, build


@pytest.mark.parametrize("name", SETUPS)
def test_words_are_those_of_the_audio_with_silence_after_it(name, speech):
    late = build(name, speech)
    search = late.search_config, late.automata
    plain = audiorec.Recognizer(late.model, late.tokenizer, None, *search, fusion=late.fusion)
    assert late.tail == (round(DELAY.tail * late.sample_rate) if late.segments else 0) and plain.tail == 0
    samples, rate = speech[9000:21000], late.sample_rate
    expected = plain.transcribe(np.append(samples, np.zeros(late.tail, np.float32)))
    with audiorec.Engine(late, slots=2) as engine:
        session = engine.session()
        session.accept(samples)
        heard = [late.transcribe(samples), late.transcribe_batch([samples, samples[:5000]])[0], session.finish()]
    assert expected.text
    for result in heard:
        assert [token.text for token in result.tokens] == [token.text for token in expected.tokens]
        assert result.seconds == len(samples) / rate
        assert all(word.end <= result.seconds for word in result.words)
        assert result.segments == heard[0].segments


@pytest.mark.parametrize("name", ["ctc", "rnnt"])
def test_silence_alone_says_nothing(name, speech):
    late = build(name, speech)
    assert late.stream().finish().text == late.transcribe_batch([np.zeros(0, np.float32)])[0].text == ""
