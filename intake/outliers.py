"""Numbers that are not meant: they must not decide the scale on which all others are read."""

from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from intake.screening import Screening

_Number = TypeVar("_Number", bound=np.floating)

FARTHEST = 10.0  # standard deviations from the mean at which a number that a model reads is cut
LARGEST = 1e30  # squares of more are no numbers
_REACH = 3.0  # of the span of the middle 98 %; of a normal distribution, 16 standard deviations


def fences(known: NDArray[np.floating]) -> tuple[float, float]:
    """Between which numbers are no outliers: the middle 98 %, and three times their span beyond.

    Without bounds where the middle is one number: what is rare beside it is no outlier.

    Parameters
    ----------
    known : (n,) finite

    Examples
    --------
    >>> fences(np.array([1.0, 2.0, 3.0, 4.0, 99999999.0]))
    (-4.0, 10.0)
    """
    if not len(known):
        return -np.inf, np.inf
    low = float(np.quantile(known, 0.01, method="higher"))
    high = float(np.quantile(known, 0.99, method="lower"))
    span = high - low
    if span <= 0:
        return -np.inf, np.inf
    return low - _REACH * span, high + _REACH * span


def without_outliers(known: NDArray[_Number]) -> NDArray[_Number]:
    """Those of the numbers (n,) that lie between their `fences`."""
    low, high = fences(known)
    return known[(known >= low) & (known <= high)]


def screen_number(found: Screening, name: str) -> list[str]:
    """Makes a column of fractions usable, and says in a sentence each what was found in it.

    Infinite numbers and those beyond `LARGEST` become null; outliers stay and are counted.
    """
    column = found.table[name]
    if not pa.types.is_floating(column.type) and not pa.types.is_integer(column.type):
        return []
    numbers = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan))
    is_huge = np.abs(numbers) > LARGEST
    notes = []
    where = f"Numbers of {name!r} in {found.label}:"
    if is_huge.any():
        notes.append(
            f"{where} {is_huge.sum():,} of {len(numbers):,} are infinite or beyond {LARGEST:g}, "
            f"such as {numbers[is_huge][0]:g}; they count as absent."
        )
        found.columns[name] = pa.array(np.where(is_huge, np.nan, numbers), from_pandas=True)
    known = numbers[np.isfinite(numbers) & ~is_huge]
    return notes + note_outliers(known, where, "Write null where they mean that nothing is known.")


def note_outliers(known: NDArray[np.floating], where: str, remedy: str) -> list[str]:
    """A sentence on the outliers of the numbers (n,), finite; none without an outlier."""
    usual = without_outliers(known)
    if len(usual) == len(known):
        return []
    far = known[(known < usual.min()) | (known > usual.max())]
    return [
        f"{where} {len(far):,} of {len(known):,} lie far from the rest, such as {far[0]:.10g} "
        f"where the others are from {usual.min():.10g} to {usual.max():.10g}; the scale is that "
        f"of the others. {remedy}"
    ]
