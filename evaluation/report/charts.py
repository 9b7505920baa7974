"""Charts as static SVG, drawn for a phone's width; wider screens only enlarge them.

Text from the data is escaped here, since the page takes a chart as it is.
"""

import math
from collections.abc import Sequence
from html import escape

from evaluation.report.blocks import BarChart, LineChart
from evaluation.report.words import figure

# Okabe and Ito 2008: told apart by people who do not see all colours.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9")
_WIDTH = 360
_INK, _FAINT, _BAR = "#1a1a1a", "#d0d0d0", "#9aa5b1"
_LEFT, _RIGHT, _TOP = 46, 18, 10
_PLOT = 220  # height of the field of a line chart


def draw(chart: LineChart | BarChart) -> str:
    """The chart as one `<svg>` element with its title for readers that do not see it."""
    return _bars(chart) if isinstance(chart, BarChart) else _lines(chart)


def _bars(chart: BarChart) -> str:
    top = max((bar.high for bar in chart.bars), default=0.0) or 1.0
    scale, parts = (_WIDTH - 60) / top, []
    for at, bar in enumerate(chart.bars):
        y = 8 + 40 * at
        colour = _COLOURS[0] if bar.strong else _BAR
        low, high = 8 + bar.low * scale, 8 + bar.high * scale
        parts += [
            _text(8, y + 8, bar.name, weight="bold" if bar.strong else "normal"),
            f'<rect x="8" y="{y + 14}" width="{bar.mean * scale:.1f}" height="12" '
            f'fill="{colour}"/>',
            _line(low, y + 20, high, y + 20, _INK),
            _text(high + 6, y + 24, figure(bar.mean)),
        ]
    return _svg(chart.title, 8 + 40 * len(chart.bars), parts)


def _lines(chart: LineChart) -> str:
    points = [point for series in chart.series for point in series.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_ticks, y_ticks = (ticks([0, 1]),) * 2 if chart.diagonal else (ticks(xs), ticks(ys))
    right, bottom = _WIDTH - _RIGHT, _TOP + _PLOT

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return _LEFT + across * (right - _LEFT), bottom - up * _PLOT

    parts = []
    for x in x_ticks:
        here, _ = at(x, y_ticks[0])
        parts += [_line(here, _TOP, here, bottom, _FAINT)]
        parts += [_text(here, bottom + 16, _number(x), anchor="middle")]
    for y in y_ticks:
        _, here = at(x_ticks[0], y)
        parts += [_line(_LEFT, here, right, here, _FAINT)]
        parts += [_text(_LEFT - 6, here + 4, _number(y), anchor="end")]
    parts.append(_text((_LEFT + right) / 2, bottom + 34, chart.x, anchor="middle"))
    if chart.diagonal:
        parts.append(_line(*at(0, 0), *at(1, 1), _INK, dash="4 4"))
    for number, series in enumerate(chart.series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [at(x, y) for x, y in series.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in places]
        for (x, y), label in zip(places, series.labels, strict=False):
            end = x > (_LEFT + right) / 2
            parts.append(_text(x - 8 if end else x + 8, y - 6, label, "end" if end else "start"))
    height = bottom + 42
    for number, series in enumerate(chart.series):
        if series.name:
            colour = _COLOURS[number % len(_COLOURS)]
            parts.append(f'<rect x="{_LEFT}" y="{height}" width="12" height="12" fill="{colour}"/>')
            parts.append(_text(_LEFT + 18, height + 11, series.name))
            height += 20
    return _svg(f"{chart.title}: {chart.y} by {chart.x}", height, parts)


def ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from at most the least value to at least the greatest, three to seven.

    >>> ticks([0.02, 0.11]), ticks([5.0]), ticks([])
    ([0.0, 0.05, 0.1, 0.15], [4.0, 5.0, 6.0], [0.0, 0.5, 1.0])
    """
    if not values:
        return [0.0, 0.5, 1.0]
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1.0):
        return [low - 1, low, low + 1]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * at, 12) for at in range(first, last + 1)]


def _number(value: float) -> str:
    """A tick in few characters.

    >>> _number(0.05), _number(25000.0), _number(3.0)
    ('0.05', '25k', '3')
    """
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def _svg(title: str, height: float, parts: list[str]) -> str:
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title, quote=True)}">{inside}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashed}/>'
    )


def _text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )
