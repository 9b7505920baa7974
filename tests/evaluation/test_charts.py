"""Charts put figures where they belong."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.report.blocks import Bar, BarChart, LineChart, Series
from evaluation.report.charts import draw, ticks


def numbers(pattern: str, svg: str) -> list[float]:
    return [float(found) for found in re.findall(pattern, svg)]


def test_bars_are_as_long_as_their_figures() -> None:
    svg = draw(BarChart("t", (Bar("a", 0.1, 0.08, 0.12), Bar("b", 0.05, 0.04, 0.06, strong=True))))
    widths = numbers(r'height="12" fill="[^"]*"|width="([\d.]+)" height="12"', svg)
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert ">.100<" in svg and ">.050<" in svg


def test_points_lie_on_the_scale_of_the_ticks() -> None:
    chart = LineChart(
        "t", "x", "y", (Series("s", ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))),), diagonal=True
    )
    svg = draw(chart)
    xs, ys = numbers(r'cx="([\d.]+)"', svg), numbers(r'cy="([\d.]+)"', svg)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)  # up is more
    dashed = re.search(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"[^>]*dash', svg)
    assert dashed is not None
    assert [float(end) for end in dashed.groups()] == [xs[0], ys[0], xs[2], ys[2]]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_ticks_hold_all_values(values: list[float]) -> None:
    found = ticks(values)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert found[0] <= min(values) + slack
    assert found[-1] >= max(values) - slack
    assert 2 <= len(found) <= 8


def test_a_chart_without_points_is_a_chart() -> None:
    assert draw(LineChart("t", "x", "y", ())).startswith("<svg")
    assert draw(BarChart("t", ())).startswith("<svg")
