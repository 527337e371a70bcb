"""A lexicon and an n-gram of words in a beam of CTC: how many streams one thread searches in real time.

python tools/bench/words.py LEXICON ARPA [--beam 8] [--streams 64] [--frame-ms 40] … Log-probabilities are made by hand: words of
the lexicon by chance, a frame a symbol and a blank or two between, noise that lets others come near. Times are CPU seconds.
"""

import argparse
import random
import resource
import statistics
import time
from pathlib import Path

import torch
from audiorec_kernels import backend
from torch import Tensor

from audiorec.search import CtcBeamSearch, Words
from audiorec.search.arpa import read_words
from audiorec.search.lexicon import Entry, Lexicon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lexicon", type=Path)
    parser.add_argument("arpa", type=Path)
    for name, default in {"beam": 8, "streams": 64, "frame-ms": 40, "chunk": 4, "frames": 250, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    lexicon = read(options.lexicon)
    began = time.process_time()
    lm = read_words(options.arpa, [*lexicon.words, "<unk>"], weight=0.5)
    print(
        f"{len(lexicon.words)} words, {len(lexicon.word)} pronunciations, {lexicon.nodes} nodes; {lm.arc_count} arcs of n-grams "
        f"read in {time.process_time() - began:.1f} s"
    )
    search = CtcBeamSearch(lambda x: x, options.beam, words=Words(lexicon, lm))
    x, said = spoken(lexicon, options)
    print(
        "| form | streams | µs a frame of a stream | CPU seconds for a second of all | words found |\n|---|---:|---:|---:|---:|"
    )
    for form, streams in (("native", 1), ("native", options.streams), ("reference", 1)):
        with backend(form):
            taken = [seconds(search, x[:streams], options) for _ in range(options.repeats)]
            found = words(search, x[:streams])
        each = statistics.median(taken) / options.frames / streams
        right = sum(a == b for a, b in zip(found, said, strict=False)) if form == "native" else 0
        rate = each * streams * 1000 / options.frame_ms
        print(
            f"| {form} | {streams} | {each * 1e6:.1f} | {rate:.3f} | {right} of {streams} streams whole |", flush=True
        )
        if form == "reference":
            with backend("native"):
                assert words(search, x[:1]) == found, "the two forms differ"
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB at most")


def read(path: Path) -> Lexicon:
    """`word symbol symbol …` a line, its symbols as they come; 0 is the blank, 1 the unknown one."""
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    ids = {symbol: i for i, symbol in enumerate(sorted({s for line in lines for s in line[1:]}), 2)}
    numbers: dict[str, int] = {}
    entries = [
        Entry(numbers.setdefault(word, len(numbers) + 1), tuple(ids[s] for s in symbols))
        for word, *symbols in lines
        if symbols
    ]
    return Lexicon.of(list(numbers), entries, len(ids) + 2)


def spoken(lexicon: Lexicon, options: argparse.Namespace) -> tuple[Tensor, list[list[str]]]:
    """Log-probabilities (B, T, V), and the words whose symbols they favour."""
    draw, said = random.Random(0), []
    parent, ends = lexicon.parent, lexicon.ends
    nodes = [node for node in range(lexicon.nodes) if ends[node] < ends[node + 1]]
    x = 1.5 * torch.randn(options.streams, options.frames, lexicon.symbols)
    for row in x:
        at, row_said = 0, []
        while True:
            node = draw.choice(nodes)
            spelled, up = [], node
            while up:
                spelled.append(int(lexicon.symbol[up]))
                up = int(parent[up])
            gaps = [draw.randint(1, 2) for _ in spelled]
            if at + sum(gaps) + len(gaps) >= options.frames:
                break
            for symbol, gap in zip(reversed(spelled), gaps, strict=True):
                row[at, symbol] += 8
                row[at + 1 : at + 1 + gap, 0] += 8
                at += 1 + gap
            row_said.append(lexicon.words[lexicon.word[ends[node]] - 1])
        row[at:, 0] += 8
        said.append(row_said)
    return x.log_softmax(-1), said


@torch.inference_mode()
def seconds(search: CtcBeamSearch, x: Tensor, options: argparse.Namespace) -> float:
    """Of all frames, a chunk at a time, as live streams have them."""
    state = search.initial_state(len(x))
    chunks = [chunk.contiguous() for chunk in x.split(options.chunk, 1)]
    began = time.process_time()
    for chunk in chunks:
        _, state = search.step(chunk, None, state)
    return time.process_time() - began


@torch.inference_mode()
def words(search: CtcBeamSearch, x: Tensor) -> list[list[str]]:
    """What each row says."""
    tokens, state = search.step(x, None, search.initial_state(len(x)))
    rest = search.flush(state)
    return [[word for word in (tokens.hypothesis(i) + rest.hypothesis(i)).words if word] for i in range(len(x))]


if __name__ == "__main__":
    main()
