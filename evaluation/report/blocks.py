"""What a report is made of, however it is shown: sections of text, tables and charts."""

import re
from dataclasses import dataclass, field
from functools import cached_property

_FIGURES = re.compile(r"(?:[\d.,:%()\s+-]|to|of|yes|no)*").fullmatch


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first of each being its name.

    Attributes
    ----------
    strong : the rows that the eye should find, by number
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    strong: frozenset[int] = frozenset()

    @cached_property
    def texts(self) -> frozenset[int]:
        """The columns with words in a cell, which are read from the left; others have figures."""
        columns = zip(*self.rows, strict=True)
        return frozenset(at for at, cells in enumerate(columns) if not all(map(_FIGURES, cells)))


@dataclass(frozen=True)
class Series:
    """Points (x, y) from left to right, and words beside some of them."""

    name: str
    points: tuple[tuple[float, float], ...]
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class LineChart:
    """Series over one x.

    Attributes
    ----------
    diagonal : draw where y equals x, which a calibrated model follows
    """

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    diagonal: bool = False


@dataclass(frozen=True)
class Bar:
    """A figure with its interval; `strong` is drawn darker."""

    name: str
    mean: float
    low: float
    high: float
    strong: bool = False


@dataclass(frozen=True)
class BarChart:
    """Bars one below the other, with their intervals."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Section:
    """A heading, what is to be known of it, and what was found."""

    title: str
    text: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    charts: tuple[LineChart | BarChart, ...] = field(default=())

    @property
    def first_tables(self) -> tuple[Table, ...]:
        """What stands before the text: one table that it explains; several come after it."""
        return self.tables if len(self.tables) == 1 else ()

    @property
    def other_tables(self) -> tuple[Table, ...]:
        """What stands after the text."""
        return self.tables if len(self.tables) > 1 else ()
