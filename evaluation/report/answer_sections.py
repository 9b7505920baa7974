"""Sections on the answers themselves: what their scores mean, and what it costs to change them."""

from collections.abc import Iterator

from evaluation.report.blocks import LineChart, Section, Series, Table
from evaluation.report.document import Bin, ChoiceScores, Report, TradeOff, Varied
from evaluation.report.words import ABSENT, bounds, figure

_TRADED = {
    "satisfaction": "Choices found against how much the first ten would be liked, by the weight of "
    "satisfaction in the objective.",
    "value": "Choices found against the mean value of the first ten (what their events carry: a "
    "rating, a price), by the weight of value in the objective.",
}
_VARIED = {
    "diversity": "Texts that differ from those before them, by strength.",
    "calibrated": "Categories in the proportions of what the user liked, by strength.",
    "max_per": "At most so many items of a category in an answer.",
    "explore": "The chance that the last place of an answer goes to an item of few events.",
}
_COLUMNS = (
    "The same answers, spread anew. Distance is the mean of 1 - cosine of two texts in the first "
    "ten; divergence (Kullback-Leibler, in nats) is that of the categories of the first ten from "
    "those of what the user liked; distinct items are in the first ten of any answer; few events: "
    "items in the first ten that had fewer than ten events."
)


def answer_sections(report: Report) -> Iterator[Section]:
    """Every one of them that has data."""
    if report.choice_scores is not None:
        yield _choice_scores(report.choice_scores)
    yield from map(_trade_off, report.trade_offs)
    if report.varied:
        yield _varied(report.varied)


def _choice_scores(found: ChoiceScores) -> Section:
    text = (
        f"The score of an item is the chance that the user chooses it next, if one of those "
        f"ranked. The first ten of {found.n_answers:,} answers whose chosen item was ranked, in "
        f"ten parts of equal size by score. Expected calibration error {figure(found.ece, 4)}; the "
        f"greatest score was {figure(found.greatest)}.",
    )
    rows = (*map(_said, found.bins), _said(found.first, "the first places"))
    series = tuple((each.predicted, each.observed) for each in found.bins)
    chart = LineChart(
        "Reliability", "score", "share chosen", (Series("score", series),), diagonal=True
    )
    table = Table("", ("scores", "items", "mean score", "share chosen"), rows)
    return Section("What a score means", text, (table,), (chart,))


def _said(found: Bin, name: str = "a tenth") -> tuple[str, ...]:
    return name, f"{found.n_rows:,}", figure(found.predicted, 4), figure(found.observed, 4)


def _varied(found: list[Varied]) -> Section:
    return Section("What variety costs and brings", (_COLUMNS,), tuple(map(_spreads, found)))


def _spreads(found: Varied) -> Table:
    rows = tuple(
        (
            "without" if not at else f"{each.strength:g}",
            figure(each.ndcg.mean),
            bounds(each.difference, 4) if at else ABSENT,
            figure(each.distance),
            figure(each.divergence),
            f"{each.distinct:,}",
            figure(each.few, 2),
        )
        for at, each in enumerate(found.points)
    )
    of = f" ({found.column})" if found.column else ""
    headings = ("NDCG@10", "difference", "distance", "divergence", "distinct items", "few events")
    return Table(f"{_VARIED[found.aim]}", (f"{found.aim}{of}", *headings), rows, frozenset({0}))


def _trade_off(found: TradeOff) -> Section:
    points = tuple((point.x, point.y) for point in found.points)
    labels = tuple(point.label for point in found.points)
    chart = LineChart("Trade-off", "NDCG@10", found.value, (Series("", points, labels),))
    rows = tuple((each.label, figure(each.x), figure(each.y)) for each in found.points)
    table = Table("", (f"weight of {found.term}", "NDCG@10", found.value), rows)
    text = (_TRADED[found.term],)
    return Section(f"What {found.term} costs", text, (table,), (chart,))
