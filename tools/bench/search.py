"""Searches alone, encoder outputs given, one thread: frames a second of streams together and one by one.

python tools/bench/search.py [MODEL --data DIR] [--chunk 1] [--vocabulary 500] … With a model its own head searches what its
encoder makes of the data, and the joiner's work per stream is counted. Without one a joiner made by hand gives a token at
one frame in ten and blanks between. Times are CPU seconds, so that what else runs on the machine matters little.

python tools/bench/search.py --automata [--streams 64] … What an n-gram and hotwords cost a beam of CTC: the same ones for all
streams, hotwords of each stream's own, and the coming and going of one stream's.

python tools/bench/search.py --forms … The beams' native kernel beside torch's form: microseconds of a frame of each stream, one
by one as a live stream has them, for one stream and for so many. CTC's log-probabilities are given; a transducer's joiner counts.
"""

import argparse
import itertools
import random
import statistics
import time
from collections.abc import Iterator, Sequence

import torch
from audiorec_kernels import backend
from torch import Tensor

from audiorec.decoders import PREDICTORS, Joiner
from audiorec.search import (
    CtcBeamSearch,
    CtcGreedySearch,
    TdtGreedySearch,
    TransducerBeamSearch,
    TransducerGreedySearch,
)
from audiorec.search.automaton import Automaton
from audiorec.search.hotwords import context_graph

DURATIONS = (0, 1, 2, 3, 4)
RATE = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="a model or run directory")
    parser.add_argument("--data", help="data directory for the model")
    parser.add_argument("--head", help="the model's head; else the first")
    for name, default in {"streams": 64, "frames": 100, "chunk": 1, "beam": 4, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in {"vocabulary": 500, "encoder": 256, "predictor": 256, "joiner": 512}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--forms", action="store_true", help="measure the native kernel beside torch's form")
    parser.add_argument("--automata", action="store_true", help="measure n-grams and hotwords")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.automata:
        return automata(options)
    if options.forms:
        return forms(options)
    print(
        "| search | frames | tokens a frame | decisions a frame | together, frames/s | one by one, frames/s | ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, search, x, lengths in of_model(options) if options.model else by_hand(options):
        tokens, state = search.step(x, lengths, search.initial_state(len(x)))
        count = int(lengths.sum())
        decisions = float(state["decisions"].sum()) / count if "decisions" in state else 1.0
        together, alone = (count / taken for taken in seconds(search, x, lengths, options))
        print(
            f"| {name} | {count} | {int(tokens.lengths.sum()) / count:.3f} | {decisions:.3f} | {together:,.0f} | "
            f"{alone:,.0f} | {together / alone:.1f} |",
            flush=True,
        )


def seconds(search, x: Tensor, lengths: Tensor, options: argparse.Namespace) -> tuple[float, float]:
    """Medians of interleaved runs: all streams together, and one by one."""
    together, alone = [], []
    streams = in_chunks(x, lengths, options.chunk)
    each = [in_chunks(x[i : i + 1], lengths[i : i + 1], options.chunk) for i in range(len(x))]
    for _ in range(options.repeats):
        began = time.process_time()
        run(search, streams)
        between = time.process_time()
        for stream in each:
            run(search, stream)
        together.append(between - began)
        alone.append(time.process_time() - between)
    return statistics.median(together), statistics.median(alone)


def in_chunks(x: Tensor, lengths: Tensor, chunk: int) -> list[tuple[Tensor, Tensor]]:
    """Frames and lengths of each chunk, contiguous as an encoder gives them."""
    starts = range(0, int(lengths.max()), chunk)
    return [(part := x[:, at : at + chunk].contiguous(), (lengths - at).clamp(0, part.shape[1])) for at in starts]


@torch.inference_mode()
def run(search, chunks: list[tuple[Tensor, Tensor | None]], owner: int | Tensor = 0) -> None:
    state = search.initial_state(len(chunks[0][0]), owner=owner)
    for x, lengths in chunks:
        _, state = search.step(x, lengths, state)


@torch.inference_mode()
def of_model(options: argparse.Namespace) -> Iterator[tuple]:
    """The model's search and its encoder's output for the first utterances of the data."""
    from audiorec.data.kaldi import Recordings, read_data_dir
    from audiorec.recognizer import load

    recognizer, recordings = load(options.model, head=options.head), Recordings()
    utterances = read_data_dir(options.data, require_text=False)[: options.streams]
    samples = [torch.from_numpy(recordings.samples(u, recognizer.sample_rate)) for u in utterances]
    padded = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True)
    x, lengths = recognizer.model(padded, torch.tensor([len(row) for row in samples]))
    yield type(recognizer.search()).__name__, recognizer.search(), x, lengths


def by_hand(options: argparse.Namespace, automata: Sequence[Automaton] = ()) -> Iterator[tuple]:
    """Every search, of a joiner that knows each symbol's code in the frames and takes none twice in a row."""
    codes = torch.nn.functional.normalize(torch.randn(options.vocabulary, options.encoder), dim=1)
    spoken = torch.randint(1, options.vocabulary, (options.streams, options.frames))
    spoken *= torch.rand(spoken.shape) < RATE
    x = codes[spoken] + 0.03 * torch.randn(*spoken.shape, options.encoder)
    x[spoken == 0] -= codes[0]
    lengths = torch.full((options.streams,), options.frames)
    linear = torch.nn.Linear(options.encoder, options.vocabulary)
    with torch.no_grad():
        linear.weight.copy_(codes)
        linear.bias.zero_()[0] = 0.5
    yield "ctc", CtcGreedySearch(linear), x, lengths
    yield (
        f"ctc, beam {options.beam}",
        CtcBeamSearch(lambda x: linear(x).log_softmax(-1), options.beam, automata=automata),
        x,
        lengths,
    )
    for name, extra, make in (
        ("rnnt", 0, TransducerGreedySearch),
        ("rnnt, one symbol a frame", 0, lambda *model: TransducerGreedySearch(*model, max_symbols=1)),
        (
            f"rnnt, beam {options.beam}",
            0,
            lambda *model: TransducerBeamSearch(*model, beam=options.beam, automata=automata),
        ),
        ("tdt, its durations by chance", len(DURATIONS), lambda *model: TdtGreedySearch(*model, DURATIONS)),
    ):
        yield name, make(*_knowing(codes, options, extra)), x, lengths


@torch.inference_mode()
def forms(options: argparse.Namespace) -> None:
    """Medians of interleaved runs; the first one is not counted."""
    helpers = {"": (), ", n-gram and hotwords": ngram_and_hotwords(random.Random(0), options.vocabulary)}
    print("| search | streams | torch, µs | native, µs | ratio |\n|---|---:|---:|---:|---:|")
    for options.beam, (extra, machines) in itertools.product((4, 8), helpers.items()):
        torch.manual_seed(0)
        for name, search, x, lengths in by_hand(options, machines):
            if "beam" not in name:
                continue
            if isinstance(search, CtcBeamSearch):
                x, search.scores = search.scores(x), lambda scores: scores
            for streams in (1, options.streams):
                chunks = [(chunk, None) for chunk, _ in in_chunks(x[:streams], lengths[:streams], 1)]
                taken: dict[str, list[float]] = {"reference": [], "native": []}
                for _ in range(options.repeats + 1):
                    for form, times in taken.items():
                        began = time.process_time()
                        with backend(form):
                            run(search, chunks)
                        times.append((time.process_time() - began) / len(chunks) / streams * 1e6)
                torch_form, native = (statistics.median(times[1:]) for times in taken.values())
                ratio = torch_form / native
                print(f"| {name}{extra} | {streams} | {torch_form:.0f} | {native:.1f} | {ratio:.1f} |", flush=True)


def ngram_and_hotwords(draw: random.Random, symbols: int) -> tuple[Automaton, Automaton]:
    """A bigram of a hundred pairs for each symbol, and a hundred phrases."""
    arcs = {(0, symbol): (-6 - draw.random(), 1 + symbol) for symbol in range(symbols)}
    for _ in range(100 * symbols):
        before, after = draw.randrange(symbols), min(symbols - 1, int(draw.expovariate(8 / symbols)))
        arcs[1 + before, after] = (-3 - draw.random(), 1 + after)
    ngram = Automaton(symbols, arcs, [(-0.5, 0)] * (symbols + 1), [0.0] * (symbols + 1))
    return ngram, _hotwords(draw, symbols)


def _hotwords(draw: random.Random, symbols: int) -> Automaton:
    phrases = [tuple(draw.choices(range(1, symbols), k=draw.randint(2, 6))) for _ in range(100)]
    return context_graph(dict.fromkeys(phrases, 1.5), symbols)


def automata(options: argparse.Namespace) -> None:
    """Milliseconds of a frame of all streams, by what their rows have; medians of interleaved runs."""
    draw, many, symbols = random.Random(0), options.streams, options.vocabulary
    ngram, _ = ngram_and_hotwords(draw, symbols)

    def hotwords() -> Automaton:
        return _hotwords(draw, symbols)

    def scores(x: Tensor) -> Tensor:
        return x

    def rows(search: CtcBeamSearch, count: int) -> Tensor:
        """Owners of all streams, of which so many have hotwords of their own."""
        return torch.tensor([search.add((ngram, hotwords())) if i < count else 0 for i in range(many)])

    none, shared = (
        CtcBeamSearch(scores, options.beam),
        CtcBeamSearch(scores, options.beam, automata=(ngram, hotwords())),
    )
    empty, one, own, own_beside = (
        CtcBeamSearch(scores, options.beam, automata=base, columns=2)
        for base in ((), (), (ngram,), (ngram, hotwords()))
    )
    more = CtcBeamSearch(scores, options.beam)
    more.tried *= 4
    cases = {
        "none": (none, 0),
        "none, four times as many tokens tried": (more, 0),
        "none, with room for them": (empty, 0),
        "an n-gram and hotwords for all": (shared, 0),
        "the same, in a search with room": (own_beside, 0),
        "one stream of them has its own": (one, rows(one, 1)),
        "each stream has hotwords of its own": (own, rows(own, many)),
    }
    x = torch.randn(many, options.frames, symbols)
    x[..., 0] += 3
    chunks = in_chunks((2 * x).log_softmax(-1), torch.full((many,), options.frames), 1)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    taken |= {"hotwords of a stream: made": [], "added": [], "removed": []}
    for _ in range(options.repeats):
        for name, (search, owners) in cases.items():
            began = time.process_time()
            run(search, chunks, owners)
            taken[name].append((time.process_time() - began) / options.frames)
        for _ in range(10):
            times = [time.process_time()]
            made = hotwords()
            times.append(time.process_time())
            owner = own.add((ngram, made))
            times.append(time.process_time())
            own.remove(owner)
            times.append(time.process_time())
            for name, begin, end in zip(list(taken)[-3:], times[:-1], times[1:], strict=True):
                taken[name].append(end - begin)
    print("| automata | ms |\n|---|---:|")
    for name, values in taken.items():
        print(f"| {name} | {1000 * statistics.median(values):.3f} |")


@torch.no_grad()
def _knowing(codes: Tensor, options: argparse.Namespace, extra: int) -> tuple:
    vocabulary, gain = options.vocabulary, 3.0
    predictor = PREDICTORS.build({"kind": "stateless", "dim": options.predictor}, vocabulary).eval()
    predictor.conv.weight[..., 0] = 0
    joiner = Joiner(options.encoder, options.predictor, max(options.joiner, vocabulary), vocabulary + extra)
    histories = predictor.output({"context": torch.arange(vocabulary)[:, None].expand(-1, 2)})
    mean, histories = histories.mean(0), histories - histories.mean(0)
    knows = (
        -gain * histories / histories.square().sum(1, keepdim=True)
    )  # −gain beside its own history, near 0 beside others
    joiner.encoder_proj.weight[:vocabulary] = gain * codes
    joiner.predictor_proj.weight[:vocabulary] = knows
    joiner.predictor_proj.bias[:vocabulary] = -knows @ mean
    joiner.output.weight[:vocabulary, :vocabulary] = 2 * torch.eye(vocabulary)
    joiner.output.weight[0] = 0
    joiner.output.bias.zero_()[0] = 1.8
    return predictor, joiner


if __name__ == "__main__":
    main()
