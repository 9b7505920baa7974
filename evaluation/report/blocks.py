"""What a report is made of, however it is shown: sections of text, tables and charts."""

from dataclasses import dataclass, field


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
