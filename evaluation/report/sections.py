"""From the document to sections; what was not measured has none."""

from collections.abc import Iterator

from evaluation.report.answer_sections import answer_sections
from evaluation.report.blocks import Bar, BarChart, LineChart, Section, Series, Table
from evaluation.report.document import (
    Ablations,
    ColdItems,
    Contender,
    Curve,
    Named,
    NextPositive,
    Pointwise,
    Report,
    Worth,
)
from evaluation.report.words import ABSENT, bounds, figure, mean_and_spread, shared_categories
from serving.shopper_reasons import WORDS

_POINTWISE = (
    "auc: how often a row with yes has a higher score than one with no, of all users together; "
    "gauc: the same within each user, weighted by rows. ndcg@10, recall@10 and mrr (mean of 1 / "
    "place of the first yes) are of each user's own rows in the order of the scores. log loss and "
    "ece (expected calibration error: how far probabilities are from what came true) are better "
    "when low."
)


def build_sections(report: Report) -> list[Section]:
    """Every section that has data, the table that matters most first."""
    found = [section for each in report.next_positive for section in _next_positive(each)]
    if report.pointwise is not None:
        found.append(liked_or_not(report.pointwise))
    if report.cold_items is not None:
        found.append(_cold_items(report.cold_items))
    if report.named:
        found.append(_named(report.named))
    if report.text:
        found.append(_text(report.text))
    if report.ablations is not None:
        found.append(_ablations(report.ablations))
    if report.learning:
        found.append(_learning(report.learning))
    return [*found, *answer_sections(report)]


def _next_positive(found: NextPositive) -> Iterator[Section]:
    variant = ", repeats allowed" if found.repeats else ""
    yield _headline(found, f"What they choose next{variant}")
    if found.sources:
        yield _sources(found, f"Where the candidates come from{variant}")
    if found.slices:
        yield _slices(found, f"For whom, and for what{variant}")


def _headline(found: NextPositive, title: str) -> Section:
    touched = "stays in" if found.repeats else "is left out"
    text = [
        f"{found.n_queries:,} choices of {found.n_users:,} users in the {found.part} part, each "
        f"against all of {found.n_items:,} items known at that instant; what the user had touched "
        f"before {touched}. Models are fitted to the {found.n_fitted:,} events before the part. "
        "In brackets: 95 % intervals, users drawn with replacement. Distinct items are in the "
        "first ten of any choice, and of 60 users; novelty is the surprise of an item in the first "
        "ten.",
        "NDCG@10 is 1 where the chosen item stands first, less further down and 0 beyond the tenth "
        "place; HR@10 the share of choices in the first ten; MRR the mean of 1 / place; recall@200 "
        "the share among the first 200 candidates.",
    ]
    if found.ratio is not None:
        text.append(
            f"NDCG@10 of {found.ratio.ours} is {bounds(found.ratio.ratio, 2)} times that of the "
            f"best single baseline, {found.ratio.best_baseline}."
        )
    order = _in_order(found.contenders)
    strong = frozenset(at for at, each in enumerate(order) if each.kind == "ours")
    depths = sorted({depth for each in order for depth in each.recall})
    headings = ("recommender", "NDCG@10", "HR@10", "MRR", *(f"recall@{depth}" for depth in depths))
    table = Table(
        "",
        (*headings, "distinct items", "for 60 users", "novelty, bits"),
        tuple(_contender(each, depths) for each in order),
        strong,
    )
    bars = BarChart("NDCG@10", tuple(_bar(each) for each in order))
    return Section(title, tuple(text), (table,), (bars,))


def _in_order(contenders: list[Contender]) -> list[Contender]:
    return sorted(contenders, key=lambda each: -(each.ndcg.mean or 0.0))


def _contender(each: Contender, depths: list[int]) -> tuple[str, ...]:
    return (
        each.name,
        bounds(each.ndcg),
        figure(each.hit_rate.mean),
        figure(each.reciprocal_rank.mean),
        *(figure(each.recall.get(depth)) for depth in depths),
        f"{each.distinct:,}",
        f"{each.distinct_60:,}",
        figure(each.novelty, 2),
    )


def _bar(each: Contender) -> Bar:
    mean, low, high = (value or 0.0 for value in (each.ndcg.mean, each.ndcg.low, each.ndcg.high))
    return Bar(each.name, mean, low, high, each.kind == "ours")


def _sources(found: NextPositive, title: str) -> Section:
    depths = sorted({depth for recall in found.sources.values() for depth in recall})
    rows = tuple(
        (name, WORDS.get(name, ""), *(figure(recall.get(depth)) for depth in depths))
        for name, recall in found.sources.items()
    )
    table = Table("", ("source", "its items", *(f"first {depth:,}" for depth in depths)), rows)
    text = (
        "Share of choices that are among the first items of a source; an item among equals counts "
        "by the share of their orders in which it is. A source that says nothing in this data set "
        "is left out, such as dislikes where nobody dislikes."
    )
    return Section(title, (text,), (table,))


def _slices(found: NextPositive, title: str) -> Section:
    names = [each.name for each in _in_order(found.contenders)]
    tables = []
    for by in dict.fromkeys(each.by for each in found.slices):
        rows = tuple(
            (each.label, f"{each.n_queries:,}", *(figure(each.ndcg.get(name)) for name in names))
            for each in found.slices
            if each.by == by
        )
        tables.append(Table(f"By {by}", (by, "choices", *names), rows))
    return Section(title, ("NDCG@10 of a part of the choices.",), tuple(tables))


def liked_or_not(found: Pointwise) -> Section:
    """The section on the ranker's probabilities."""
    names = list(dict.fromkeys(name for metrics in found.metrics.values() for name in metrics))
    rows = tuple(
        (model, *(figure(metrics.get(name), 4) for name in names))
        for model, metrics in found.metrics.items()
    )
    asked = "does the user like an item that they met?"
    if not found.explicit:
        asked = "did the user choose the item, or was it drawn from those that they did not?"
    text = (
        f"{found.n_rows:,} labelled rows of the last part: {asked} A calibrated model lies on the "
        "diagonal.",
        _POINTWISE,
        *shared_categories(found.shared_categories),
    )
    series = tuple(
        Series(model, tuple((each.predicted, each.observed) for each in bins))
        for model, bins in found.reliability.items()
    )
    came = "share liked" if found.explicit else "share chosen"
    chart = LineChart("Reliability", "probability said", came, series, diagonal=True)
    table = Table("", ("model", *(name.replace("_", " ") for name in names)), rows, frozenset({0}))
    title = "Liked or not" if found.explicit else "Chosen or drawn"
    return Section(title, text, (table,), (chart,) if series else ())


def _cold_items(found: ColdItems) -> Section:
    text = (
        f"{found.share:.0%} of the items are held out of all training and of all histories; only "
        f"they are ranked, about {found.n_items:.0f} a list, for users with three or more liked "
        f"items; {found.n_queries:.0f} choices a seed. NDCG@10, with the least and greatest seed.",
    )
    rows = tuple((name, mean_and_spread(values)) for name, values in found.ndcg.items())
    return Section(
        "Items that nobody knows yet", text, (Table("", ("ranked by", "NDCG@10"), rows),)
    )


def _named(found: list[Named]) -> Section:
    rows = tuple(
        (each.column, each.example, str(each.n_values), figure(each.having), figure(each.taste))
        for each in found
    )
    text = (
        "Queries made of the data, for users who have done little and much, and for an unknown "
        "one. First ten: how many of them have what is named, of as many as could. Taste left: of "
        "the ten that the user would get first among what has it, how many are in the first ten, "
        "where there are twenty or more to choose from. On values on which no weight was chosen.",
    )
    headings = ("column", "such as", "values", "first ten", "taste left")
    return Section("What a query names", text, (Table("", headings, rows),))


def _text(found: list[Worth]) -> Section:
    rows = tuple(
        (
            each.measure,
            f"{each.n_rows:,}",
            mean_and_spread(each.having, 4),
            mean_and_spread(each.lacking, 4),
            bounds(each.difference, 4),
            "yes" if each.is_significant else "no",
        )
        for each in found
    )
    headings = ("measure", "rows", "with text", "without text", "difference", "significant")
    text = (
        "The same models fitted without any text vector, on the test part. In brackets the least "
        "and greatest seed; of the difference the 95 % interval, users drawn with replacement. It "
        "is significant where the interval leaves out 0.",
    )
    return Section("What text is worth", text, (Table("", headings, rows),))


def _ablations(found: Ablations) -> Section:
    seeds = [f"seed {seed}" for seed in range(len(found.recipe))]
    rows = [
        (each.name, *(figure(value, 4) for value in each.ndcg), bounds(each.difference, 4))
        for each in found.variants
    ]
    recipe = ("the recipe", *(figure(value, 4) for value in found.recipe), ABSENT)
    text = (
        f"NDCG@10 on the {found.part} part with one thing changed. The difference is of the mean "
        "over seeds, users drawn with replacement.",
    )
    table = Table("", ("variant", *seeds, "difference"), (recipe, *rows), frozenset({0}))
    return Section("What each part is worth", text, (table,))


def _learning(curves: list[Curve]) -> Section:
    series = tuple(
        Series(each.name, tuple((point.x, point.y) for point in each.points)) for each in curves
    )
    chart = LineChart("NDCG@10 by events", "events that the model was fitted to", "NDCG@10", series)
    amounts = sorted({point.x for each in curves for point in each.points})
    table = Table(
        "",
        ("events", *(each.name for each in curves)),
        tuple((f"{amount:,.0f}", *(_at(each, amount) for each in curves)) for amount in amounts),
    )
    return Section("More data", ("The same choices, models of fewer events.",), (table,), (chart,))


def _at(curve: Curve, x: float) -> str:
    return next((figure(point.y) for point in curve.points if point.x == x), ABSENT)
