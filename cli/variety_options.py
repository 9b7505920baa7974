"""`--diversity`, `--calibrated` and `--max-per`: how an answer is spread."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

_R = TypeVar("_R")


class _OfColumn(click.ParamType[tuple[str, Any]]):
    """COLUMN=NUMBER, as a pair."""

    name = "COLUMN=NUMBER"

    def __init__(self, number: click.ParamType[Any]) -> None:
        self._number = number

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """The name and the number of `genres=3`."""
        name, equals, number = value.rpartition("=")
        if not equals or not name:
            self.fail(f"got {value!r}, expected a column and a number, such as genres=3.", param)
        return name, self._number.convert(number, param, ctx)


_SHARE = click.FloatRange(0, 1)


def with_variety(command: Callable[..., _R]) -> Callable[..., _R]:
    """Adds the options to a command, which gets what is asked of `[variety]` as `variety`."""

    @click.option("--diversity", type=_SHARE, help="0 to 1: texts that differ from those before.")
    @click.option(
        "--calibrated",
        multiple=True,
        type=_OfColumn(_SHARE),
        help="Keep the proportions of the user's categories, such as genres=0.3. Repeatable.",
    )
    @click.option(
        "--max-per",
        multiple=True,
        type=_OfColumn(click.IntRange(min=1)),
        help="The most items that share a category, such as genres=3. Repeatable.",
    )
    @wraps(command)
    def opened(
        *args: Any,
        diversity: float | None,
        calibrated: tuple[tuple[str, float], ...],
        max_per: tuple[tuple[str, int], ...],
        **options: Any,
    ) -> _R:
        given = {
            "diversity": diversity,
            "calibrated": dict(calibrated) or None,
            "max_per": dict(max_per) or None,
        }
        variety = {name: value for name, value in given.items() if value is not None}
        return command(*args, variety=variety, **options)

    return opened
