"""The page of a run: one HTML file with curves, tables, delays and the worst utterances, which needs nothing else."""

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from io import BytesIO
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from audiorec.data.kaldi import Recordings
from audiorec.evaluation.changed import length_section, noise_section
from audiorec.evaluation.elements import charts, interval, note, number, percent, section, shown, table
from audiorec.evaluation.run import Decoding, Epoch, read_decodings, read_epochs
from audiorec.evaluation.svg import bar_chart, line_chart
from audiorec.evaluation.wer import errors_and_words, grouped
from audiorec.files import write_text

WORST = 12  # utterances with a player, at most
RATE, LONGEST = 16000, 30.0  # of a player: samples a second, seconds
BINS = 24  # of a histogram, at most


def write_page(run: Path, out: Path, data: Path | None = None) -> list[dict[str, Any]]:
    """Write the page of a run folder; returns the rows of its decodings, for ``write_results``.

    ``data`` is where the decoded data are, if not where the decodings found them.

    Raises UserError where the run has no scored decoding, or an utterance cannot be read.
    """
    epochs, decodings = read_epochs(run), read_decodings(run, data)
    style = files("audiorec.evaluation").joinpath("page.css").read_text(encoding="utf-8")
    title = escape(run.resolve().name)
    measured = [one.measured for one in decodings]
    plain = [one for one in decodings if not one.measured.change] or decodings
    main = next((one for one in plain if one.measured.mode == "offline"), plain[0])
    parts = [
        f"<h1>{title}</h1>",
        _tiles(main, plain),
        _curves(epochs),
        _decodings(plain),
        noise_section(measured),
        length_section(measured),
        _streaming([one for one in plain if one.streaming]),
        _breakdown(main),
        _worst(main),
    ]
    names = ("viewport", "width=device-width"), ("color-scheme", "light dark")
    head = '<meta charset="utf-8">' + "".join(f'<meta name="{name}" content="{value}">' for name, value in names)
    body = "\n".join(part for part in parts if part)
    write_text(
        out,
        f'<!doctype html>\n<html lang="en"><head>{head}<title>{title}</title><style>\n{style}</style></head>\n'
        f"<body><main>\n{body}\n</main></body></html>\n",
    )
    return [one.row for one in decodings]


def _tiles(main: Decoding, decodings: Sequence[Decoding]) -> str:
    row = main.row
    tiles = [("WER, " + main.name, percent(row["wer"]), "95 %: " + " to ".join(percent(x) for x in row["interval"]))]
    streamed = [one.row for one in decodings if one.row["mode"] == "streamed"]
    if streamed:
        worst = max(streamed, key=lambda each: each["wer"])
        differ = [each["differences"] for each in streamed if each.get("differences") is not None]
        told = f"{max(differ)} utterances differ from offline" if differ else "not compared with offline"
        tiles.append(("WER streamed", percent(worst["wer"]), told))
    if row.get("algorithmic_latency_ms") is not None:
        tiles.append(("latency of the model", f"{row['algorithmic_latency_ms']:g} ms", "features and look-ahead"))
    tiles.append(
        ("parameters", f"{row['parameters'] / 1e6:.2f} M", f"{row['utterances']:,} utterances, {row['words']:,} words")
    )
    cells = (f"<div><span>{escape(a)}</span><b>{escape(b)}</b><small>{escape(c)}</small></div>" for a, b, c in tiles)
    return f'<section class="tiles">{"".join(cells)}</section>'


def _curves(epochs: Sequence[Epoch]) -> str:
    def curve(name: str) -> list[tuple[float, float]]:
        points = [(epoch.number, getattr(epoch, name)) for epoch in epochs]
        return [point for point in points if isfinite(point[1])]

    losses = {"training": curve("loss"), "validation": curve("valid_loss")}
    errors = {"validation": curve("error")}
    return section(
        "Training", charts(line_chart(losses, "epoch", "loss per token"), line_chart(errors, "epoch", "errors, %"))
    )


def _decodings(decodings: Sequence[Decoding]) -> str:
    header = ["decoding", "WER, %", "95 %", "CER, %", "oracle, %", "differ", "RTF"]
    rows = []
    for one in decodings:
        row = one.row
        rtf = row["decode_seconds"] / row["audio_seconds"] if row.get("audio_seconds") else None
        rates = number(row["wer"]), interval(row["interval"]), number(row.get("cer")), number(row.get("oracle"))
        rows.append([one.name, *rates, shown(row.get("differences"), "{}"), shown(rtf, "{:.2g}")])
    explained = {
        "oracle, %": "Oracle: the best text of each n-best list.",
        "differ": "Differ: utterances unlike offline.",
    }
    kept = [i for i, cells in enumerate(zip(*rows, strict=True)) if any(cell != "–" for cell in cells)]
    told = " ".join(explained[header[i]] for i in kept if header[i] in explained)
    cells = table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])
    return section("Decodings", cells + (note(told) if told else ""))


def _streaming(decodings: Sequence[Decoding]) -> str:
    if not decodings:
        return ""
    header = ["decoding", "first partial, ms", "word, ms", "word p95, ms", "changed, %", "finalise, ms", "RTF"]
    rows, drawn = [], []
    for one in decodings:
        s = one.streaming
        first, word, end = (s[key] or {} for key in ("first_partial", "word_delay", "finalize"))
        delays = [shown(x, "{:.0f}", 1000) for x in (first.get("median"), word.get("median"), word.get("p95"))]
        last = shown(end.get("median"), "{:.1f}", 1000)
        rows.append([one.name, *delays, number(s["changed"]), last, shown(s["real_time_factor"], "{:.2g}")])
        drawn.append(_histogram([1000 * delay for delay in s["word_delays"]], f"delay of a word, ms ({one.name})"))
    told = (
        "Medians, in audio heard: the first partial after the first word begins; a word after it ends, once it stays as it is. "
        "Changed: words shown and then replaced, of the final words. Times of words: "
        + ", ".join(sorted({f"{one.streaming['aligned']}, {one.streaming['timed']} utterances" for one in decodings}))
        + "."
    )
    return section("Streaming", table(header, rows) + note(told) + charts(*drawn))


def _histogram(values: Sequence[float], x: str) -> str:
    if not values:
        return ""
    low, high = np.percentile(values, [0.5, 99.5])  # what lies outside goes into the outer bars
    counts, edges = np.histogram(np.clip(values, low, high), bins=BINS if high > low else 1)
    bars = [
        (f"{a:.0f}", float(n), f"{a:.0f} to {b:.0f}: {n}") for n, a, b in zip(counts, edges, edges[1:], strict=False)
    ]
    return bar_chart(bars, x, "words")


def _breakdown(main: Decoding) -> str:
    """Word error rates by length and by speaker."""
    names = list(main.references)
    if not names:
        return section(
            "Utterances", note("The data are not there: give them with --data to see lengths, speakers and texts.")
        )
    counts = errors_and_words(main.references, main.hypotheses)
    lengths = grouped(counts, [_length(int(words)) for _, words in counts])
    bars = [
        (group[1], 100 * found["wer"], f"{group[1]} words: {percent(found['wer'])} of {found['words']:g} words")
        for group, found in lengths.items()
    ]
    parts = [charts(bar_chart(bars, "words in the utterance", "WER, %"))]
    speakers = grouped(counts, [main.utterances[name].speaker for name in names])
    if 1 < len(speakers) < len(names):
        worst = sorted(speakers.items(), key=lambda item: -item[1]["wer"])
        rows = [[str(name), number(x["wer"]), f"{x['words']:,}", f"{x['utterances']:,}"] for name, x in worst[:30]]
        parts.append(table(["speaker", "WER, %", "words", "utterances"], rows))
        parts += [note(f"The worst 30 of {len(worst)} speakers.")] if len(worst) > 30 else []
    return section(f"By length and speaker: {escape(main.name)}", "".join(parts))


def _length(words: int) -> tuple[int, str]:
    """Ten words or fewer alone, more in classes that double."""
    if words <= 10:
        return words, str(words)
    top = 10
    while words > 2 * top:
        top *= 2
    return 2 * top, f"{top + 1}–{2 * top}"


def _worst(main: Decoding) -> str:
    if not main.references:
        return ""
    errors = errors_and_words(main.references, main.hypotheses)[:, 0]
    order = np.argsort(-errors, kind="stable")[:WORST]
    recordings, names = Recordings(), list(main.references)
    parts = []
    for i in order[errors[order] > 0]:
        name = names[i]
        picture = _aligned(main.references[name], main.hypotheses[name])
        player = _player(recordings.samples(main.utterances[name], RATE))
        parts.append(f"<article><h3>{escape(name)} <small>{_errors(errors[i])}</small></h3>{player}{picture}</article>")
    wrong = int((errors > 0).sum())
    told = f"{wrong} of {len(errors)} utterances have errors; said above, recognised below."
    return section(f"Worst utterances: {escape(main.name)}", note(told) + "".join(parts))


def _errors(count: int) -> str:
    return f"{count} error" if count == 1 else f"{count} errors"


def _aligned(reference: str, hypothesis: str) -> str:
    """The words of both, one above the other, errors marked."""
    from jiwer import process_words

    output = process_words(reference, hypothesis)
    (said,), (heard,), (chunks,) = output.references, output.hypotheses, output.alignments
    columns = []
    for chunk in chunks:
        a, b = said[chunk.ref_start_idx : chunk.ref_end_idx], heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for i in range(max(len(a), len(b))):
            above, below = (escape(row[i]) if i < len(row) else "∅" for row in (a, b))
            columns.append(f'<span class="{chunk.type}"><i>{above}</i><i>{below}</i></span>')
    return f'<p class="aligned">{"".join(columns)}</p>'


def _player(samples: np.ndarray) -> str:
    encoded = BytesIO()
    soundfile.write(encoded, samples[: round(RATE * LONGEST)], RATE, format="MP3", subtype="MPEG_LAYER_III")
    data = base64.b64encode(encoded.getvalue()).decode()
    return f'<audio controls preload="metadata" src="data:audio/mpeg;base64,{data}"></audio>'
