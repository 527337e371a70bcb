"""A client that stops right after its last word gets it, over every protocol, with no silence asked of it."""

import io

import numpy as np
import pytest
import soundfile

import audiorec
from audiorec.data.kaldi import read_data_dir
from audiorec.models import find_model
from tests.conftest import ROOT
from tests.serving.servers import Running

pytest.importorskip("uvicorn")
RECIPES = sorted((ROOT / "egs/digits/exp").glob("**/model"))
DATA = [ROOT / "egs/digits" / path / "official/test" for path in ("data", "exp/demo/data")]


def own(server, name, samples, rate):
    return audiorec.Client(server.ws, name).transcribe(samples, rate).text


def vosk(server, name, samples, rate):
    from tests.serving.test_vosk_sherpa import vosk

    answers = vosk(f"{server.ws}/vosk?model={name}", {"sample_rate": rate}, [samples.tobytes()])
    return " ".join(answer["text"] for answer in answers if answer.get("text"))


def sherpa(server, name, samples, rate):
    from tests.serving.test_vosk_sherpa import sherpa

    address = f"{server.ws}/sherpa-onnx?model={name}&sample_rate={rate}"
    events = sherpa(address, samples.astype("<f4") / 32768, len(samples))
    return " ".join(event["text"].strip() for event in events if event["is_final"] and event["text"])


def rest(server, name, samples, rate):
    openai = pytest.importorskip("openai")
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV")
    client = openai.OpenAI(base_url=server.http + "/v1", api_key="none", max_retries=0)
    return client.audio.transcriptions.create(model=name, file=("clip.wav", file.getvalue())).text


def realtime(server, name, samples, rate):
    """Push to talk: the last words are those of a commit, after which nothing comes."""
    pytest.importorskip("openai")
    from tests.serving.test_openai_realtime import KIND, append, connected, session_of, until

    with connected(server) as connection:
        connection.session.update(session=session_of(name, None, rate))
        append(connection, samples.tobytes())
        connection.input_audio_buffer.commit()
        return until(connection, KIND + "completed")[-1].transcript


def deepgram(server, name, samples, rate):
    pytest.importorskip("deepgram")
    from tests.serving.test_deepgram import finals, listen

    heard = listen(server, name, [samples.tobytes()], sample_rate=rate)
    return " ".join(one.transcript for one in finals(heard) if one.transcript)


def wyoming(server, name, samples, rate):
    pytest.importorskip("wyoming")
    from wyoming.asr import Transcribe, Transcript
    from wyoming.audio import AudioChunk, AudioStart, AudioStop

    from tests.serving.test_wyoming import speak

    start, chunk = AudioStart(rate, 2, 1), AudioChunk(rate, 2, 1, samples.tobytes())
    events = speak(server, Transcribe(name=name), start, chunk, AudioStop())
    return Transcript.from_event(events[-2]).text


PROTOCOLS = [own, vosk, sherpa, rest, realtime, deepgram, wyoming]


@pytest.mark.slow
@pytest.mark.skipif(not RECIPES, reason="no trained model in egs/digits/exp; `make demo` trains one")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_recording_loses_its_last_word(protocol, served):
    server, texts, recordings = served
    for name, (recognizer, wholes, cut) in recordings.items():
        whole = [result.text for result in recognizer.transcribe(wholes)]
        rate = recognizer.sample_rate
        heard = [protocol(server, name, np.rint(32767 * samples).astype("<i2"), rate) for samples in cut]
        counts = [[len(text.split()) for text in texts_of] for texts_of in (heard, whole, texts)]
        # A word too many in the whole recording is not lost in the one that is cut.
        lost = [i for i, (a, b, c) in enumerate(zip(*counts, strict=True)) if a < min(b, c)]
        assert not lost, f"{name}: {len(lost)} of {len(cut)}: {[(heard[i], whole[i]) for i in lost[:3]]}"


@pytest.fixture(scope="module")
def served():
    from tools.bench.last_word import recordings

    data = next(folder for folder in DATA if folder.exists())
    found = {path.parent.name: audiorec.load(find_model(path)) for path in RECIPES}
    names = (f"{path.parent.name}={path}" for path in RECIPES)
    with Running(*names, "--threads", 1, "--wyoming", 0) as server:
        texts = [utterance.text for utterance in read_data_dir(data)]
        yield server, texts, {name: (one, *recordings(data, one.sample_rate)) for name, one in found.items()}
