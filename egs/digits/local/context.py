"""Hotwords and an n-gram for a trained model in noise: local/context.py RUN [DATA] prints tables of figures as Markdown.

The hotwords are 100 of the 1,000 strings of three digits, drawn by seed: about one in ten of the strings in a recording is
a hotword, and most hotwords never occur. The searches share the encoder's output; --streamed repeats some of them live.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from prepare import SEED, WORDS
from torch import Tensor

from audiorec.audio.augment import add_noise
from audiorec.data.draws import generator
from audiorec.data.kaldi import Recordings, Utterance, read_data_dir
from audiorec.data.strings import StringsConfig, draw_strings
from audiorec.evaluation import score
from audiorec.evaluation.decode import in_pieces
from audiorec.recognizer import Recognizer, load
from audiorec.search.arpa import write_ngram
from audiorec.search.kneser_ney import estimate_pieces

PHRASES, PHRASE_WORDS = 100, 3
LISTS = 10  # the phrases are hotwords all at once, and ten at a time
BOOSTS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
# (weight, bonus of each token): the bonus 2.3 · weight cancels the cost of a digit where all ten are equally likely.
NGRAMS = ((0.1, 0.0), (0.3, 0.0), (0.6, 0.0), (0.3, 0.7), (0.6, 1.4))
LIVE = 1.0  # boost of the search that is also streamed
BATCH = 128
CHUNK_MS = 160

Texts = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/official"), help="with train and test")
    parser.add_argument("--snr", type=float, nargs="+", default=[5.0], help="dB, noise from white to brown")
    parser.add_argument("--streamed", action="store_true", help="also live, in pieces of 160 ms; takes minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    test = read_data_dir(options.data / "test")
    for snr in options.snr:
        print(f"\n### {snr:g} dB\n", flush=True)
        measure(options.run, read_data_dir(options.data / "train"), test, snr, options.streamed)


def measure(run: Path, train: list[Utterance], test: list[Utterance], snr: float, streamed: bool) -> None:
    """Print a line for every search, on ``test`` with noise at ``snr`` dB."""
    greedy, recordings = load(run), Recordings()
    speech = {
        u.id: add_noise(recordings.samples(u, greedy.sample_rate), snr, generator(SEED, 0, u.id)).astype(np.float32)
        for u in test
    }
    frames = list(encoded(greedy, speech))
    references, phrases = {u.id: u.text for u in test}, draw_phrases()
    print("| search | WER, % | recall of phrases | false alarms | differ streamed |\n|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for name, settings, lists, live in searches(phrases, write_ngrams(Path(folder), greedy, train)):
            wers, counts, differ = [], [], "–"
            for listed in lists:
                recognizer = load(run, search=settings | ({"hotwords": listed} if "hotwords_score" in settings else {}))
                decoded = decode(recognizer, frames)
                wers.append(100 * score(references, decoded).wer)
                counts.append(count_phrases(references, decoded, listed))
            if streamed and live:
                differ = sum(in_pieces(recognizer.stream(), speech[i], CHUNK_MS).text != decoded[i] for i in speech)
            hits, total, alarms = (sum(column) for column in zip(*counts, strict=True))
            print(f"| {name} | {mean(wers):.2f} | {hits} of {total} | {alarms} | {differ} |", flush=True)


def searches(phrases: list[str], ngrams: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any], list, bool]]:
    """Name and settings of each search, the lists of hotwords to repeat it with, and whether it is also streamed."""
    beam = {"kind": "beam", "beam": 4}
    yield "greedy", {}, [phrases], False
    yield "beam 4", beam, [phrases], False
    for lists in ([phrases[i::LISTS] for i in range(LISTS)], [phrases]):
        for boost in BOOSTS:
            settings = {**beam, "hotwords_score": boost}
            yield f"{len(lists[0])} hotwords, {boost:g}", settings, lists, boost == LIVE and len(lists) == 1
    for source, path in ngrams.items():
        for weight, bonus in NGRAMS:
            settings = {**beam, "lm": path, "lm_weight": weight, "lm_bonus": bonus}
            yield f"n-gram of {source}, {weight:g}, bonus {bonus:g}", settings, [phrases], (weight, bonus) == NGRAMS[1]


def draw_phrases() -> list[str]:
    numbers = generator(SEED, 0, "phrases").choice(10**PHRASE_WORDS, PHRASES, replace=False)
    return [" ".join(WORDS[int(digit)] for digit in f"{number:0{PHRASE_WORDS}d}") for number in numbers]


def write_ngrams(folder: Path, recognizer: Recognizer, train: list[Utterance]) -> dict[str, Path]:
    """Trigrams of the training transcripts: of single clips, and of the strings that training joins."""
    strings = [clips for epoch in range(4) for _, clips in draw_strings(train, StringsConfig(), SEED, epoch)]
    texts = {"clips": [u.text for u in train], "strings": [" ".join(u.text for u in clips) for clips in strings]}
    for name, lines in texts.items():
        write_ngram(folder / name, estimate_pieces(lines, recognizer.tokenizer))
    return {name: folder / name for name in texts}


@torch.inference_mode()
def encoded(recognizer: Recognizer, speech: Mapping[str, np.ndarray]) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """Batches of utterances of similar length: ids, encoder frames (B, T, C) and their counts (B,)."""
    names = sorted(speech, key=lambda name: len(speech[name]))
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        rows = [torch.from_numpy(speech[name]) for name in batch]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        yield batch, *recognizer.model(padded, torch.tensor([len(row) for row in rows]))


@torch.inference_mode()
def decode(recognizer: Recognizer, frames: list[tuple[list[str], Tensor, Tensor]]) -> Texts:
    decoded = {}
    for names, x, lengths in frames:
        search = recognizer.search()
        tokens, state = search.step(x, lengths, search.initial_state(len(x)))
        last = search.flush(state)
        decoded |= {n: recognizer.tokenizer.decode(tokens.row(i)[0] + last.row(i)[0]) for i, n in enumerate(names)}
    return decoded


def count_phrases(references: Texts, decoded: Texts, phrases: list[str]) -> tuple[int, int, int]:
    """Occurrences of phrases that were decoded, all their occurrences in the references, and false alarms."""
    hits = total = alarms = 0
    for name, text in references.items():
        ref, hyp = (occurrences(t, set(phrases)) for t in (text, decoded[name]))
        hits, total, alarms = hits + (ref & hyp).total(), total + ref.total(), alarms + (hyp - ref).total()
    return hits, total, alarms


def occurrences(text: str, phrases: set[str]) -> Counter[str]:
    words = text.split()
    spans = (" ".join(words[i : i + PHRASE_WORDS]) for i in range(len(words) - PHRASE_WORDS + 1))
    return Counter(span for span in spans if span in phrases)


if __name__ == "__main__":
    main()
