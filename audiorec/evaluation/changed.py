"""Parts of the page of a run: its word error rates where the test set was changed."""

from collections.abc import Sequence

from audiorec.evaluation.conditions import CLEAN, condition, degraded
from audiorec.evaluation.elements import charts, interval, note, number, section, shown, table
from audiorec.evaluation.lengths import count, lengths
from audiorec.evaluation.rows import Row
from audiorec.evaluation.svg import line_chart


def noise_section(rows: Sequence[Row]) -> str:
    """The rates in each condition, and over the ratio of speech to noise; nothing without degraded rows."""
    found = sorted(degraded(rows), key=lambda row: (row.model, condition(row)))
    if not found:
        return ""
    several = len({row.model for row in found}) > 1

    def cells(row: Row) -> list[str]:
        search = f"{row.search} " if several and row.search else ""
        return [search + condition(row)[-1], number(row.wer), interval(row.interval), number(row.cer)]

    main = [row for row in found if row.model == found[0].model]
    noise = sorted((row.snr_db, 100 * row.wer) for row in main if row.snr_db is not None)
    clean = [(at, 100 * row.wer) for row in main if not row.change for at, _ in (noise[:1] + noise[-1:])]
    lines = {"in noise": noise, CLEAN: clean} if clean else {"in noise": noise}
    told = "Offline, on copies of the test set: recorded noise at a ratio of speech to noise, drawn rooms, a telephone's band."
    chart = line_chart(lines, "speech to noise, dB", "WER, %") if len(noise) > 1 else ""
    rates = table(["condition", "WER, %", "95 %", "CER, %"], map(cells, found))
    return section("Robustness", rates + note(told) + charts(chart))


def length_section(rows: Sequence[Row]) -> str:
    """The rates over the mean length of an utterance, whole and streamed; nothing without joined rows."""
    ways = sorted(lengths(rows), key=lambda way: way[0].chunk_ms or 0)
    if not ways:
        return ""
    first = min(row.model for way in ways for row in way)
    own = [sorted((row for row in way if row.model == first), key=count) for way in ways]

    def cells(row: Row) -> list[str]:
        size = [row.fed, str(count(row)), shown(row.seconds, "{:.1f}")]
        return [*size, number(row.wer), interval(row.interval), shown(row.different_words, "{}")]

    header = ["fed", "joined", "mean length, s", "WER, %", "95 %", "differ"]
    rates = table(header, (cells(row) for way in own for row in way))
    lines = {way[0].fed: [(row.seconds, 100 * row.wer) for row in way if row.seconds] for way in own if way}
    told = "Utterances of a speaker joined to longer ones. Differ: words that are not the same streamed as whole."
    return section("Long form", rates + note(told) + charts(line_chart(lines, "mean length, s", "WER, %")))
