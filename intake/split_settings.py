"""`[split]`: which events test a model, and which choose among models."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from intake.model_settings import Section

DEFAULT_SHARE = 0.1


def _as_instant(given: Any) -> Any:
    """A date is its first instant; a time without a zone is refused, as everywhere."""
    if isinstance(given, str):
        given = datetime.fromisoformat(given) if "T" in given else date.fromisoformat(given)
    if isinstance(given, date) and not isinstance(given, datetime):
        return datetime(given.year, given.month, given.day, tzinfo=UTC)
    if isinstance(given, datetime) and given.tzinfo is None:
        raise ValueError("it has no zone; write a date, or a time such as 2024-06-01T00:00:00Z")
    return given


Instant = Annotated[datetime, BeforeValidator(_as_instant)]
PartShare = Annotated[float, Field(gt=0, lt=1)]


class SplitConfig(Section):
    """`[split]`: how events are split into training, validation and test.

    Attributes
    ----------
    by : "time": the newest events test, those before them validate; "leave_one_out": the last
        event of each user tests, the one before it validates, both at their own instants
    test : share of the events that test, by time; None: 0.1, or what `test_from` says
    validation : share of the others that validate, by time; None: 0.1, or `validation_from`
    test_from : a date or an instant with its zone; events from it on test, by time
    validation_from : the same for validation, before `test_from`
    """

    by: Literal["time", "leave_one_out"] = "time"
    test: PartShare | None = None
    validation: PartShare | None = None
    test_from: Instant | None = None
    validation_from: Instant | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for part in ("test", "validation"):
            if getattr(self, part) is not None and getattr(self, f"{part}_from") is not None:
                raise ValueError(f"{part} and {part}_from are two answers; remove one of them")
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if self.by == "leave_one_out" and given != ["by"]:
            raise ValueError(f"{', '.join(given[1:])} cannot be used with by = 'leave_one_out'")
        if self.validation_from is not None:
            if self.test_from is None:
                raise ValueError("validation_from needs test_from, which it lies before")
            if self.validation_from >= self.test_from:
                raise ValueError("validation_from must lie before test_from")
        return self


BY_TIME = SplitConfig()
