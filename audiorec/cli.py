"""The ``audiorec`` command: a thin face over the library. Nothing heavy is imported before a command needs it."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from audiorec.errors import ConfigError, UserError

# Packages that a plain install does not bring, and the extra that does.
EXTRAS = {"lightning": "train", "lhotse": "train", "jiwer": "train", "matplotlib": "train", "tensorboard": "train"}

app = typer.Typer(
    name="audiorec",
    help="Streaming speech recognition: what you measure offline is what you get live.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Kaldi data directories.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Model = Annotated[Path, typer.Argument(help="A model directory, or a run that holds one.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, …")]


def main() -> None:
    """Run a command; what a user can mend is one line on standard error. Exit code 1: failed, 2: wrong use."""
    try:
        app()
    except ConfigError as error:
        _fail(error, 2)
    except UserError as error:
        _fail(error, 1)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        _fail(f"{error.name} is not installed; pip install 'audiorec[{EXTRAS[error.name]}]'", 1)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: object, code: int) -> None:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(code)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/lstm_ctc.yaml.")],
    overrides: Annotated[Optional[list[str]], typer.Argument(help="Settings as key.key=value.")] = None,  # noqa: UP045
    *,
    train: Annotated[Path, typer.Option(help="Data directory to train on.")],
    valid: Annotated[Path, typer.Option(help="Data directory to choose checkpoints by.")],
    out: Annotated[Path, typer.Option(help="Run folder; the same command again goes on where it stopped.")],
    tokenizer: Annotated[Optional[Path], typer.Option(help="Trained tokenizer; else one is trained.")] = None,  # noqa: UP045
) -> None:
    """Train a model; the run folder holds checkpoints, logs, curves.png and model/."""
    from audiorec.config import load_config
    from audiorec.training.config import RunConfig
    from audiorec.training.run import train as run

    print(run(load_config(RunConfig, recipe, overrides or []), train, valid, out, tokenizer))


@app.command()
def average(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    best: Annotated[int, typer.Option(min=1, help="How many of the best checkpoints.")] = 3,
) -> None:
    """Average the best checkpoints of a run into its model directory."""
    from audiorec.training.run import average

    print(average(run, best))


@app.command()
def tokenizer(
    data: Annotated[Path, typer.Argument(help="A data directory, or a file of one text a line.")],
    kind: Annotated[str, typer.Option(help="char, word, bpe or unigram.")] = "bpe",
    size: Annotated[Optional[int], typer.Option(help="Number of pieces, blank included.")] = None,  # noqa: UP045
    case: Annotated[str, typer.Option(help="lower, upper or none: as in the recipe's tokenizer.normalize.")] = "none",
    unicode: Annotated[str, typer.Option(help="NFC or NFKC; likewise.")] = "NFC",
    punctuation: Annotated[bool, typer.Option(help="Whether it stays; likewise.")] = True,
    *,
    out: Annotated[Path, typer.Option(help="Folder to write it to.")],
) -> None:
    """Train a tokenizer on transcripts."""
    from audiorec.config import parse
    from audiorec.text import Normalizer, train_tokenizer

    normalize = parse(Normalizer, {"case": case, "unicode": unicode, "punctuation": punctuation}, "tokenizer.normalize")
    made = train_tokenizer(kind, [normalize(text) for text in _transcripts(data)], size)
    made.save(out)
    print(f"{out}: {made.kind}, {made.size} pieces")


@app.command()
def lm(
    model: Model,
    data: Annotated[Path, typer.Argument(help="A data directory, or a file of one text a line.")],
    order: Annotated[int, typer.Option(min=1, help="The longest n-grams.")] = 3,
    *,
    out: Annotated[Path, typer.Option(help="The ARPA file to write.")],
) -> None:
    """Count transcripts into an n-gram over a model's pieces, for decode --lm; small corpora only."""
    from audiorec.models import load_model
    from audiorec.search.ngram import write_ngram

    _, tokenizer, config = load_model(model)
    normalize = config.tokenizer.normalize
    write_ngram(out, [normalize(text) for text in _transcripts(data)], tokenizer, order)
    print(out)


def _transcripts(data: Path) -> list[str]:
    from audiorec.data.kaldi import read_data_dir

    if data.is_dir():
        return [utterance.text for utterance in read_data_dir(data)]
    try:
        return data.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{data}: not UTF-8 ({error}); convert it with iconv") from None


@app.command()
def decode(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory to decode.")],
    out: Annotated[Path, typer.Option(help="Folder for text, words.ctm and decode.json.")],
    streaming: Annotated[bool, typer.Option(help="Feed each utterance in pieces, as if live.")] = False,
    chunk_ms: Annotated[float, typer.Option(min=1, help="Size of the pieces.")] = 160.0,
    head: Annotated[Optional[str], typer.Option(help="The head that decodes; else the first.")] = None,  # noqa: UP045
    latency_ms: Annotated[Optional[float], typer.Option(min=0, help="Look-ahead of the attention.")] = None,  # noqa: UP045
    search: Annotated[str, typer.Option(help="greedy or beam.")] = "greedy",
    beam: Annotated[int, typer.Option(min=1, help="Hypotheses of the beam.")] = 4,
    lm: Annotated[Optional[Path], typer.Option(help="ARPA n-gram over the tokenizer's pieces; needs a beam.")] = None,  # noqa: UP045
    lm_weight: Annotated[float, typer.Option(min=0, help="Weight of the n-gram.")] = 0.3,
    lm_bonus: Annotated[float, typer.Option(help="Bonus of each token: an n-gram makes long texts unlikely.")] = 0.0,
    hotwords: Annotated[Optional[Path], typer.Option(help="Phrases, one a line, `phrase :2.5`; needs a beam.")] = None,  # noqa: UP045
    hotwords_score: Annotated[float, typer.Option(help="Bonus of each token of a phrase.")] = 1.5,
    skip_blank: Annotated[Optional[float], typer.Option(help="Skip frames CTC finds blank, of a hybrid.")] = None,  # noqa: UP045
    threads: Annotated[Optional[int], typer.Option(min=1, help="Threads to compute with.")] = None,  # noqa: UP045
    device: Device = "cpu",
) -> None:
    """Decode a data directory, offline or streamed."""
    import torch

    from audiorec.evaluation.decode import decode
    from audiorec.recognizer import load

    if threads:
        torch.set_num_threads(threads)
    settings = {"kind": search, "beam": beam, "lm": lm, "lm_weight": lm_weight, "skip_blank": skip_blank}
    settings |= {"lm_bonus": lm_bonus, "hotwords": hotwords, "hotwords_score": hotwords_score}
    recognizer = load(model, device, head, settings)
    took = model / "training.json"  # a run folder has one, a model directory alone does not
    about = json.loads(took.read_text()) if took.exists() else {}
    about["command"] = " ".join(["audiorec", *sys.argv[1:]])
    if latency_ms is not None:
        recognizer = recognizer.at_latency(latency_ms)
    if recognizer.model.latencies:
        about["latency_ms"] = recognizer.model.look_ahead_ms
    summary = decode(recognizer, data, out, chunk_ms if streaming else None, about)
    factor = summary["decode_seconds"] / max(summary["audio_seconds"], 1e-9)
    print(f"{out}: {summary['audio_seconds']:.1f} s of audio, real-time factor {factor:.3f}")


@app.command()
def align(
    model: Model,
    *,
    data: Annotated[Path, typer.Option(help="Data directory with texts.")],
    out: Annotated[Path, typer.Option(help="Folder for tokens.ctm, words.ctm and align.json.")],
    head: Annotated[Optional[str], typer.Option(help="The head that aligns; else the first.")] = None,  # noqa: UP045
    device: Device = "cpu",
) -> None:
    """Find when each token and word of a data directory was said."""
    from audiorec.evaluation.align import align

    summary = align(model, data, out, head, device)
    for name, reason in summary["left_out"].items():
        print(f"{name}: left out: {reason}", file=sys.stderr)
    print(f"{out}: {summary['utterances']} utterances aligned, {len(summary['left_out'])} left out")


@app.command()
def score(
    reference: Annotated[Path, typer.Argument(help="Kaldi text, or a data directory.")],
    hypothesis: Annotated[Path, typer.Argument(help="Kaldi text, or a folder that `audiorec decode` wrote.")],
    same_as: Annotated[Optional[Path], typer.Option(help="Count utterances that differ from these.")] = None,  # noqa: UP045
    label: Annotated[Optional[list[str]], typer.Option(help="key=value to keep in score.json.")] = None,  # noqa: UP045
) -> None:
    """Word error rate with its 95 % interval; beside a decoding it leaves score.json and alignments.txt."""
    from audiorec.evaluation import alignments, differences
    from audiorec.evaluation import score as score_texts

    ref, hyp = _texts(reference), _texts(hypothesis)
    result = score_texts(ref, hyp)
    print(result)
    row = {name: getattr(result, name) for name in ("wer", "cer", "interval", "utterances", "words")}
    if same_as:
        differ = differences(_texts(same_as), hyp)
        row["differences"] = len(differ)
        print(f"{len(differ)} utterances differ from {same_as}" + "".join(f"\n  {name}" for name in differ[:10]))
    if (hypothesis / "decode.json").exists():
        labels = dict(pair.split("=", 1) for pair in label or [])
        row = json.loads((hypothesis / "decode.json").read_text()) | row | labels
        (hypothesis / "alignments.txt").write_text("\n".join(alignments(ref, hyp, worst_first=True)), encoding="utf-8")
        (hypothesis / "score.json").write_text(json.dumps(row, indent=1) + "\n")


def _texts(path: Path) -> dict[str, str]:
    from audiorec.evaluation import read_text

    return read_text(path / "text" if path.is_dir() else path)


@app.command()
def report(
    scores: Annotated[list[Path], typer.Argument(help="score.json files.")],
    *,
    out: Annotated[Path, typer.Option(help="The Markdown page to write.")],
    title: Annotated[str, typer.Option()] = "Results",
    note: Annotated[Optional[list[str]], typer.Option(help="Lines for the end of the page.")] = None,  # noqa: UP045
) -> None:
    """Write the page of results from score.json files."""
    from audiorec.evaluation import read_rows, write_results

    write_results(out, title, read_rows(scores), note or [])
    print(out)


@app.command()
def card(model: Model, scores: Annotated[list[Path], typer.Argument(help="score.json files of this model.")]) -> None:
    """Put measured word error rates into the model's card."""
    from audiorec.evaluation import read_rows, write_card

    print(write_card(model, read_rows(scores)))


@app.command()
def transcribe(
    model: Model, files: Annotated[list[Path], typer.Argument(help="Audio files.")], device: Device = "cpu"
) -> None:
    """Print the words of recordings, a line each."""
    from audiorec.recognizer import load

    recognizer = load(model, device)
    for file in files:
        text = recognizer.transcribe(file).text
        print(text if len(files) == 1 else f"{file}\t{text}", flush=True)


@app.command()
def mic(
    model: Model,
    file: Annotated[Optional[Path], typer.Option(help="Play this recording as if it were live.")] = None,  # noqa: UP045
    speed: Annotated[float, typer.Option(min=0, help="With --file: 1 is live, 0 as fast as can be.")] = 1.0,
    device: Annotated[Optional[str], typer.Option(help="Microphone: its number or part of its name.")] = None,  # noqa: UP045
) -> None:
    """Words of the microphone as they are spoken; Ctrl-C ends."""
    from itertools import chain

    from audiorec.recognizer import load
    from audiorec.serving.mic import as_if_live, microphone, show

    recognizer = load(model)
    if file:
        pieces = as_if_live(file, speed)
        first, rate = next(pieces)
        print(f"playing {file}, Ctrl-C ends", file=sys.stderr, flush=True)
        show(recognizer, chain([first], (samples for samples, _ in pieces)), rate)
    else:
        rate = recognizer.sample_rate
        print("listening, Ctrl-C ends", file=sys.stderr, flush=True)
        show(recognizer, microphone(rate, int(device) if device and device.isdigit() else device), rate)


@app.command()
def info(
    model: Annotated[Path, typer.Argument(help="A model directory, a run that holds one, or a recipe.")],
    overrides: Annotated[Optional[list[str]], typer.Argument(help="A recipe's settings, key.key=value.")] = None,  # noqa: UP045
    latencies: Annotated[
        bool, typer.Option("--latencies", help="Only the other look-aheads to stream at, in ms.")
    ] = False,
) -> None:
    """What a model is: sizes, work, latency and state, part by part."""
    from rich.console import Console
    from rich.table import Table

    from audiorec.models import AsrModel, describe, load_model, load_model_config, vocabulary

    if model.is_file():
        config = load_model_config(model, overrides or [])
        facts, tables = describe(AsrModel(config, vocabulary(config)).eval(), None, config)
    elif overrides:
        raise ConfigError(f"{overrides[0]}: settings go with a recipe; {model} is made already")
    else:
        made = load_model(model)
        if latencies:
            others = [ms for ms in made[0].latencies if math.isfinite(ms) and ms != made[0].look_ahead_ms]
            print(" ".join(f"{ms:g}" for ms in others))
            return
        facts, tables = describe(*made)
    console = Console(width=None if sys.stdout.isatty() else 120)
    shown = Table(show_header=False, box=None)
    for fact in facts.items():
        shown.add_row(*fact)
    console.print(shown)
    for table in tables:
        shown = Table(box=None, title=table.title, title_justify="left", title_style="bold")
        for i, column in enumerate(table.columns):
            shown.add_column(column, justify="right" if i else "left", no_wrap=True)
        for row in table.rows:
            shown.add_row(*row)
        console.print("", shown)


@data_app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="A data directory.")],
    deep: Annotated[bool, typer.Option(help="Decode every recording to its end.")] = False,
) -> None:
    """Report every problem of a data directory."""
    from audiorec.data.validate import validate

    problems = validate(folder, deep=deep)
    for problem in problems:
        print(f"{folder}/{problem}")
    if problems:
        raise UserError(f"{folder}: {len(problems)} problems")
    print(f"{folder}: no problems")


@data_app.command()
def find(
    name: Annotated[str, typer.Argument(help="A corpus.")],
    cache: Annotated[Path, typer.Option(help="Where an archive is unpacked.")] = Path(".cache"),
) -> None:
    """Print the folder of a corpus, under $AUDIOREC_DATA or fetched from its public home."""
    from audiorec.data.corpora import find_corpus

    print(find_corpus(name, cache).resolve())
