"""`[variety]` of dataset.toml: how wide an answer is spread, and what it tries out."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from intake.model_settings import Positive, Section, Share


class Variety(Section):
    """`[variety]`: how wide an answer is spread, where a request does not say otherwise.

    Nothing of it is read by a fit, so a change needs no training.

    Attributes
    ----------
    diversity : 0 for the order of the ranker, towards 1 for items whose texts differ from those
        before them
    calibrated : by categorical column of items, 0 to 1, how near the categories of an answer are to
        be to those of what the user liked, such as {genres = 0.3}
    max_per : by categorical column of items the most items of an answer that share a category, such
        as {genres = 3}
    explore : chance that one of the last places of an answer goes to an item of few events
    explore_places : how many places may
    explore_below : fewer events than this are few
    """

    diversity: Share = 0.0
    calibrated: dict[str, Share] = Field(default_factory=dict)
    max_per: dict[str, Positive] = Field(default_factory=dict)
    explore: Share = 0.0
    explore_places: Positive = 1
    explore_below: Positive = 10

    @property
    def is_spread(self) -> bool:
        """Whether an answer is more than the first items in order."""
        return bool(self.diversity or self.max_per or any(self.calibrated.values()))

    def asked(self, wanted: Mapping[str, Any]) -> "Variety":
        """With what a request says in place of what it leaves out, which is None there."""
        said = {name: value for name, value in wanted.items() if value is not None}
        return self.model_validate({**self.model_dump(), **said}) if said else self


PLAIN = Variety()
