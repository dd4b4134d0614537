"""Charts as inline SVG: colours come from the page's CSS variables (light and dark), each with a title and description.

Series are told apart by colour and by dash or label, never by colour alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 520, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 46
_ids = itertools.count(1)

Points = Sequence[tuple[float, float]]


def number(value: float) -> str:
    """A value short enough for an axis or a tile: up to four significant digits, thousands separated."""
    if not math.isfinite(value):
        return "n/a"
    if value != 0 and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between low and high (included if round), about `most` of them."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / most
    power: float = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


@dataclass
class Plot:
    """A chart area with linear axes. Data is drawn with the methods; `svg()` gives the finished element."""

    title: str
    description: str
    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    marks: list[str] = field(default_factory=list)

    def px(self, value: float) -> float:
        """Horizontal pixel of a data value."""
        low, high = self.x
        return round(self.left + (value - low) / ((high - low) or 1) * (self.width - self.left - RIGHT), 2)

    def py(self, value: float) -> float:
        """Vertical pixel of a data value."""
        low, high = self.y
        return round(self.height - BOTTOM - (value - low) / ((high - low) or 1) * (self.height - TOP - BOTTOM), 2)

    def axes(self, x_label: str, y_label: str) -> None:
        """Grid lines, tick labels and axis names."""
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for value in ticks(*self.x):
            at = self.px(value)
            self.marks.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
            self.text(at, bottom + 17, number(value), "tick mid")
        for value in ticks(*self.y, most=5):
            at = self.py(value)
            self.marks.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{at}" y2="{at}"/>')
            self.text(self.left - 7, at + 4, number(value), "tick end")
        self.text((self.left + right) / 2, self.height - 8, x_label, "axis mid")
        middle = (TOP + bottom) / 2
        self.marks.append(
            f'<text class="axis mid" x="13" y="{middle}" transform="rotate(-90 13 {middle})">{escape(y_label)}</text>'
        )

    def line(self, points: Points, style: str) -> None:
        """A polyline; `style` is a CSS class such as `s1`, `s2 dash` or `ref`."""
        path = " ".join(f"{self.px(x)},{self.py(y)}" for x, y in points)
        self.marks.append(f'<polyline class="line {style}" points="{path}"/>')

    def area(self, points: Points, style: str) -> None:
        """The area between a line and the horizontal axis."""
        base = self.py(self.y[0])
        path = " ".join(f"{self.px(x)},{self.py(y)}" for x, y in points)
        start, end = self.px(points[0][0]), self.px(points[-1][0])
        self.marks.append(f'<polygon class="area {style}" points="{start},{base} {path} {end},{base}"/>')

    def dots(self, points: Points, style: str, radius: float = 3, tips: Sequence[str] = ()) -> None:
        """Circles, each with a tip where `tips` are given."""
        for index, (x, y) in enumerate(points):
            tip = f"<title>{escape(tips[index])}</title>" if tips else ""
            self.marks.append(
                f'<circle class="dot {style}" cx="{self.px(x)}" cy="{self.py(y)}" r="{radius}">{tip}</circle>'
            )

    def bar(self, start: float, end: float, height: float, style: str, tip: str) -> None:
        """An upright bar from the horizontal axis."""
        top, base, left = self.py(height), self.py(self.y[0]), self.px(start)
        wide = max(self.px(end) - left - 1, 0.5)
        self.marks.append(
            f'<rect class="fill {style}" x="{left}" y="{top}" width="{wide:.2f}" height="{base - top:.2f}">'
            f"<title>{escape(tip)}</title></rect>"
        )

    def vertical(self, at: float, label: str) -> None:
        """A marker line across the chart with a label at its top."""
        x = self.px(at)
        side = "end" if at > sum(self.x) / 2 else ""
        self.marks.append(f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{self.height - BOTTOM}"/>')
        self.text(x + (-6 if side else 6), TOP + 11, label, f"tick {side}")

    def text(self, x: float, y: float, content: str, style: str) -> None:
        """A text at pixel coordinates."""
        self.marks.append(label(x, y, content, style))

    def svg(self) -> str:
        """The finished element."""
        return wrap(self.title, self.description, self.width, self.height, self.marks)


def label(x: float, y: float, content: str, style: str = "label") -> str:
    """A text element at pixel coordinates."""
    return f'<text class="{style}" x="{x:.2f}" y="{y:.2f}">{escape(content)}</text>'


def wrap(title: str, description: str, width: int, height: int, marks: Sequence[str]) -> str:
    """An accessible svg element around marks."""
    name = f"chart{next(_ids)}"
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}t {name}d">'
        f'<title id="{name}t">{escape(title)}</title><desc id="{name}d">{escape(description)}</desc>'
        f"{''.join(marks)}</svg>"
    )


def horizontal_bars(title: str, items: Sequence[tuple[str, float, str]], style: str = "s1") -> str:
    """Bars from left to right: `(label, length 0..1, text at the end)`."""
    height, label_width, width = 26, 200, 700
    marks = []
    for index, (name, length, text) in enumerate(items):
        y = index * height + 4
        room = width - label_width - 90
        long = max(length * room, 1.5)
        marks += [
            label(label_width - 10, y + 14, _short(name, 30), "label end"),
            f'<rect class="track" x="{label_width}" y="{y + 2}" width="{room}" height="16" rx="3"/>',
            f'<rect class="fill {style}" x="{label_width}" y="{y + 2}" width="{long:.2f}" height="16" rx="3"/>',
            label(label_width + room + 8, y + 14, text),
        ]
    described = "; ".join(f"{name}: {text}" for name, _, text in items)
    return wrap(title, described, width, len(items) * height + 6, marks)


def matrix(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix: rows actual, columns predicted, shaded by the share of the actual class."""
    size = len(labels)
    cell, left, top = max(34, min(120, 400 // size)), 118, 62
    marks = [
        f'<text class="axis mid" x="{left + size * cell / 2}" y="16">Predicted</text>',
        f'<text class="axis mid" x="14" y="{top + size * cell / 2}" '
        f'transform="rotate(-90 14 {top + size * cell / 2})">Actual</text>',
    ]
    for row, line in enumerate(counts):
        total = sum(line) or 1
        y = top + row * cell
        marks.append(label(left - 10, y + cell / 2 + 4, _short(labels[row]), "label end"))
        marks.append(label(left + (row + 0.5) * cell, top - 12, _short(labels[row]), "label mid"))
        for column, count in enumerate(line):
            marks.append(_matrix_cell(left + column * cell, y, cell, count, count / total, row == column))
    described = "; ".join(
        f"actual {labels[row]} predicted {labels[column]}: {count}"
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
    )
    return wrap(title, described, left + size * cell + 12, top + size * cell + 12, marks)


def _matrix_cell(x: float, y: float, cell: float, count: int, share: float, right: bool) -> str:
    style = "s1" if right else "s2"
    text = "on" if share > 0.55 else "label"
    lines = label(x + cell / 2, y + cell / 2 + (0 if cell > 60 else 4), f"{count:,}", f"{text} mid strong")
    if cell > 60:
        lines += label(x + cell / 2, y + cell / 2 + 20, f"{share:.1%}", f"{text} mid small")
    return (
        f'<rect class="track" x="{x + 1}" y="{y + 1}" width="{cell - 2}" height="{cell - 2}" rx="4"/>'
        f'<rect class="fill {style}" x="{x + 1}" y="{y + 1}" width="{cell - 2}" height="{cell - 2}" rx="4" '
        f'fill-opacity="{0.06 + 0.94 * share if count else 0:.3f}"/>{lines}'
    )


def _short(label: str, most: int = 14) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
