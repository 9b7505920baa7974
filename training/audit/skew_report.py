"""What the skew audit found, for people and for programs."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from training.audit.feature_skew import FeatureSkew

_COUNTS = ("equal", "missing", "extra", "different", "rewritten")


@dataclass(frozen=True)
class ViewSkew:
    """One view in the rows that were served.

    Attributes
    ----------
    behind : rows that were older than the newest row at the request, or not there yet
    max_behind_s : the longest time that the event of a newer row had been there, in seconds
    ahead : rows of an event that is stamped after the request
    unfolded : rows of an event that the offline store lacks; not compared
    examples : of mismatches, in words
    """

    view: str
    behind: int
    max_behind_s: float
    ahead: int
    unfolded: int
    features: tuple[FeatureSkew, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SkewReport:
    """The result of an audit; clean when no feature has a mismatch.

    Attributes
    ----------
    n_other : rows of the log that were left out: another version of the service served them
    lost_context : sentences on context that events have and requests do not
    """

    n_rows: int
    n_other: int
    views: tuple[ViewSkew, ...]
    lost_context: tuple[str, ...] = ()

    @property
    def mismatches(self) -> int:
        """Values that are not as they should be."""
        return sum(feature.mismatches for view in self.views for feature in view.features)

    @property
    def is_clean(self) -> bool:
        """Whether training would have had every served value."""
        return self.mismatches == 0 and not self.lost_context

    def to_dict(self) -> dict[str, Any]:
        """For programs: the fields, with `is_clean` and `mismatches`."""
        return {"is_clean": self.is_clean, "mismatches": self.mismatches, **asdict(self)}

    def lines(self) -> list[str]:
        """For people: one line, a table of the features, what was behind, and examples."""
        n_features = sum(len(view.features) for view in self.views)
        lines = [
            f"Skew audit: {self.mismatches:,} mismatches in {self.n_rows:,} served rows x "
            f"{n_features} features.",
            "Equal means: float32 within its rounding (2^-23), float64 to 2^-46, the rest exactly.",
        ]
        if self.n_other:
            lines.append(f"{self.n_other:,} rows of another version of the service were left out.")
        lines += self.lost_context
        lines += self._table()
        lines += [line for view in self.views for line in _notes(view)]
        return [*lines, *(line for view in self.views for line in view.examples)]

    def _table(self) -> list[str]:
        features = [feature for view in self.views for feature in view.features]
        width = max([len("feature"), *(len(feature.feature) for feature in features)])
        head = "".join(f"{name:>11}" for name in (*_COUNTS, "max abs", "max rel", "min cosine"))
        return [f"{'feature':{width}}{head}", *(_row(feature, width) for feature in features)]


def _notes(view: ViewSkew) -> Iterator[str]:
    if view.behind:
        yield (
            f"{view.view}: {view.behind:,} rows were behind, by events that had arrived up to "
            f"{view.max_behind_s:,.1f} s before; compared with the version that was served."
        )
    if view.ahead:
        yield f"{view.view}: {view.ahead:,} rows are of events stamped after the request."
    if view.unfolded:
        yield (
            f"{view.view}: {view.unfolded:,} rows are of events that are not folded yet and were "
            "not compared; audit without --no-fold."
        )


def _row(feature: FeatureSkew, width: int) -> str:
    counts = "".join(f"{getattr(feature, name):>11,}" for name in _COUNTS)
    sizes = (feature.max_absolute, feature.max_relative, feature.min_cosine)
    return f"{feature.feature:{width}}{counts}" + "".join(
        f"{'' if size is None else format(size, '.6g'):>11}" for size in sizes
    )
