"""Charts as inline SVG, in the colours of the page that holds them: lines over x, and bars."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 460, 220
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
Points = Sequence[tuple[float, float]]


def line_chart(series: Mapping[str, Points], x: str, y: str, dots: bool = False) -> str:
    """Lines, one a name (at most four), of points (x, y); the axes begin at y = 0. ``dots`` draws points alone."""
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    low, high = min(a for a, _ in points), max(a for a, _ in points)
    axes = _Axes(low, high if high > low else low + 1, max(b for _, b in points))
    parts = [axes.frame(x, y)]
    for number, (name, line) in enumerate(series.items()):
        at = [(axes.x(a), axes.y(b)) for a, b in line]
        if dots:
            parts += [f'<circle class="s{number}" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in at]
        else:
            parts.append(f'<polyline class="s{number}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in at)}"/>')
        if len(series) > 1:
            parts.append(
                f'<text class="name s{number}" x="{WIDTH - RIGHT}" y="{TOP + 14 * (number + 1)}">{escape(name)}</text>'
            )
    return _svg(parts, f"{y} over {x}")


def bar_chart(bars: Sequence[tuple[str, float, str]], x: str, y: str) -> str:
    """A bar for each label: (label, height, what a pointer over it tells)."""
    if not bars:
        return ""
    axes = _Axes(0, len(bars), max(height for _, height, _ in bars))
    parts, every = [axes.frame(x, y, numbers=False)], ceil(len(bars) / 8)
    for i, (label, height, told) in enumerate(bars):
        left, top = axes.x(i + 0.08), axes.y(height)
        size = f'width="{axes.x(i + 0.92) - left:.1f}" height="{axes.y(0) - top:.1f}"'
        parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" {size}><title>{escape(told)}</title></rect>')
        if i % every == 0:
            parts.append(
                f'<text class="tick" x="{axes.x(i + 0.5):.1f}" y="{HEIGHT - BOTTOM + 16}">{escape(label)}</text>'
            )
    return _svg(parts, f"{y} by {x}")


class _Axes:
    def __init__(self, low: float, high: float, top: float):
        self.low, self.high = low, high
        self.step = _step(top or 1.0, 4)
        self.top = self.step * ceil((top or 1.0) / self.step - 1e-9)

    def x(self, value: float) -> float:
        return LEFT + (value - self.low) / (self.high - self.low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)

    def frame(self, x: str, y: str, numbers: bool = True) -> str:
        """Grid, numbers and the names of both axes."""
        parts = []
        for i in range(round(self.top / self.step) + 1):
            at = self.y(i * self.step)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text class="tick left" x="{LEFT - 6}" y="{at + 4:.1f}">{i * self.step:.6g}</text>')
        step = _step(self.high - self.low, 6)
        for i in range(ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9) + 1) if numbers else ():
            parts.append(
                f'<text class="tick" x="{self.x(i * step):.1f}" y="{HEIGHT - BOTTOM + 16}">{i * step:.6g}</text>'
            )
        middle = (HEIGHT - BOTTOM + TOP) / 2
        parts.append(f'<text class="axis" x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}">{escape(x)}</text>')
        parts.append(f'<text class="axis" transform="translate(12 {middle}) rotate(-90)">{escape(y)}</text>')
        return "".join(parts)


def _step(extent: float, parts: int) -> float:
    """1, 2 or 5 times a power of ten: about ``parts`` steps."""
    power = 10 ** floor(log10(extent / parts))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= extent / parts * 0.999)


def _svg(parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
