"""The report as one JSON document: all that the page and the Markdown are made from.

A section that was not measured is None or empty. A figure that is not defined is null.
"""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from evaluation.measures import Interval
from feast_fusion.files import replaced_file

Figure = Annotated[
    float | None,
    BeforeValidator(lambda value: None if value is None or math.isnan(value) else value),
]
Kind = Literal["ours", "baseline", "reference"]


class Section(BaseModel):
    """A part of a document of figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounds(Section):
    """A mean, and the ends of its 95 % interval when users are drawn with replacement."""

    mean: Figure
    low: Figure
    high: Figure

    @classmethod
    def of(cls, interval: Interval) -> "Bounds":
        """The same three numbers."""
        return cls(mean=interval.mean, low=interval.low, high=interval.high)


class Contender(Section):
    """One recommender on the queries of a protocol.

    kind: ours, or what it has to beat; recall: of all its candidates, by how many of them; distinct
    and distinct_60: items in the first ten of any query, and of 60 users; novelty: bits.
    """

    name: str
    kind: Kind
    ndcg: Bounds
    hit_rate: Bounds
    reciprocal_rank: Bounds
    recall: dict[int, float] = {}
    distinct: int
    distinct_60: int
    novelty: Figure
    fit_s: Figure = None


class Ratio(Section):
    """NDCG@10 of ours over that of the best baseline, users resampled for both alike."""

    ours: str
    best_baseline: str
    ratio: Bounds


class Slice(Section):
    """NDCG@10 by contender on some of the queries."""

    by: str
    label: str
    n_queries: int
    ndcg: dict[str, float]


class NextPositive(Section):
    """The protocol of `evaluation.protocol`; with `repeats`, items stay rankable once touched."""

    part: Literal["validation", "test"]
    repeats: bool
    n_queries: int
    n_users: int
    n_items: int
    n_fitted: int
    contenders: list[Contender]
    ratio: Ratio | None = None
    sources: dict[str, dict[int, float]] = {}
    slices: list[Slice] = []


class Bin(Section):
    """Rows whose probability lies in one part of [0, 1]: what was said, and what came."""

    predicted: float
    observed: float
    n_rows: int


class Pointwise(Section):
    """Whether a user likes an item they met: metrics by model, of the same labelled rows.

    explicit: whether the data set has rows that are not liked; else the others were drawn
    shared_categories: by categorical feature the share of its categories without a code of its own
    """

    n_rows: int
    metrics: dict[str, dict[str, Figure]]
    reliability: dict[str, list[Bin]] = {}
    explicit: bool = True
    shared_categories: dict[str, float] = {}


class ChoiceScores(Section):
    """Whether a score is the chance of being chosen: the first ten of answers.

    ece: expected calibration error; greatest: of all scores; first: the first places alone; bins:
    tenths of all, by score
    """

    n_answers: int
    ece: float
    greatest: float
    first: Bin
    bins: list[Bin]


class ColdItems(Section):
    """The protocol of `evaluation.cold_items`: NDCG@10 by model, one number a seed."""

    share: float
    n_items: float
    n_queries: float
    ndcg: dict[str, list[Figure]]


class Ablation(Section):
    """NDCG@10 with one thing changed, by seed, and what the change is worth."""

    name: str
    ndcg: list[float]
    difference: Bounds


class Ablations(Section):
    """Variants beside the recipe, on the part that chooses."""

    part: Literal["validation", "test"]
    recipe: list[float]
    variants: list[Ablation]


class Worth(Section):
    """A measure of models that have a thing, and of the same models fitted without it, by seed.

    n_rows: that were measured; difference: what the thing adds.
    """

    measure: str
    n_rows: int
    having: list[Figure]
    lacking: list[Figure]
    difference: Bounds

    @property
    def is_significant(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        low, high = self.difference.low, self.difference.high
        return low is not None and high is not None and (low > 0 or high < 0)


class Point(Section):
    """One measured point of a curve."""

    x: float
    y: float
    label: str = ""


class Curve(Section):
    """Points from left to right."""

    name: str
    points: list[Point]


class TradeOff(Section):
    """NDCG@10 (x) against what the first ten gain (y), by the weight (label) of a term.

    term: of the objective; value: what y is.
    """

    term: Literal["satisfaction", "value"]
    value: str
    points: list[Point]


class Spread(Section):
    """Answers at one strength.

    difference: of NDCG@10 from the answers as they are; distance: mean of 1 - cosine of two texts
    in the first ten; divergence: of categories from those of what the user liked, in nats;
    distinct: items in the first ten of any; few: items of few events in the first ten
    """

    strength: float
    ndcg: Bounds
    difference: Bounds
    distance: Figure
    divergence: Figure
    distinct: int
    few: float


class Varied(Section):
    """One aim of `[variety]` at several strengths; the first point is without it.

    column: of the categories, where the aim has one
    """

    aim: Literal["diversity", "calibrated", "max_per", "explore"]
    column: str | None
    points: list[Spread]


class Named(Section):
    """Queries that name a value of a column, by `evaluation.named_values`.

    having: of the first ten that could have it, how many do; taste: of the ten that have it and
    that no query would put first, how many are among them.
    """

    column: str
    example: str
    n_values: int
    having: Figure
    taste: Figure


class Report(Section):
    """All that one evaluation found."""

    dataset: str
    version: str
    created: str
    n_events: int
    n_users: int
    n_items: int
    next_positive: list[NextPositive] = []
    pointwise: Pointwise | None = None
    cold_items: ColdItems | None = None
    named: list[Named] = []
    text: list[Worth] = []
    ablations: Ablations | None = None
    learning: list[Curve] = []
    trade_offs: list[TradeOff] = []
    varied: list[Varied] = []
    choice_scores: ChoiceScores | None = None

    def write(self, path: Path) -> None:
        """Replace the JSON file at `path`."""
        with replaced_file(path) as building:
            building.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
