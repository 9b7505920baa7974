"""Served values of a feature beside the values of the offline store, and how far apart they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from feast_fusion.errors import schema_error

Bools = NDArray[np.bool_]
Numbers = NDArray[np.float64]

MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Rounding:
    """How far two floats may be apart: the sum of these.

    Attributes
    ----------
    relative : of the larger of both
    absolute : of any two
    of_largest : of the largest number, by size, of the vector that they are in
    """

    relative: float
    absolute: float = 0.0
    of_largest: float = 0.0

    def unequal(self, left: Numbers, right: Numbers, largest: Numbers | float = 0.0) -> Bools:
        """(n,) whether they differ by more; a NaN equals a NaN, an infinity the same one.

        `largest` is that of each number's vector, 0 of what is in none.
        """
        with np.errstate(invalid="ignore"):
            room = self.relative * np.maximum(np.abs(left), np.abs(right)) + self.absolute
            room += self.of_largest * largest
            close = (np.abs(left - right) <= room) & np.isfinite(left) & np.isfinite(right)
        same: Bools = close | (left == right) | (np.isnan(left) & np.isnan(right))
        return ~same


EXACT = Rounding(2.0**-46)  # float64: the order of a sum
FLOAT32 = Rounding(2.0**-23)
FLOAT16 = Rounding(2.0**-10, 2.0**-24)  # vectors of a store that keeps them as float16
INT8 = replace(FLOAT16, of_largest=1 / 254)  # half a step; some vectors are kept as float16


@dataclass(frozen=True)
class Example:
    """A mismatch: row `row` of what was compared, and both values without any text."""

    kind: str
    row: int
    served: str
    offline: str


@dataclass(frozen=True)
class FeatureSkew:
    """One feature in the rows that were compared, which are the sum of the counts.

    Attributes
    ----------
    missing : the offline store has a value, none was served
    extra : a value was served, the offline store has none
    different : both have one, not the same
    rewritten : not the same, and an event came since that can have changed the offline value
    max_absolute, max_relative : largest difference of numbers, None for other types
    min_cosine : of the vectors, None for other types
    """

    feature: str
    equal: int
    missing: int
    extra: int
    different: int
    rewritten: int
    max_absolute: float | None
    max_relative: float | None
    min_cosine: float | None
    examples: tuple[Example, ...]

    @property
    def mismatches(self) -> int:
        """Rows that are not as they should be."""
        return self.missing + self.extra + self.different


def compare_feature(
    feature: str,
    served: pa.ChunkedArray,
    offline: pa.ChunkedArray,
    *,
    is_vector: bool = False,
    may_be_rewritten: Bools | None = None,
    rounding: Rounding = FLOAT32,
) -> FeatureSkew:
    """The n served values of a feature against the n of the offline store.

    Parameters
    ----------
    may_be_rewritten : (n,) rows whose offline value may have changed since they were served
    rounding : of float32 values; float64 values are equal to 2^-46, anything else exactly

    Raises
    ------
    SchemaError
        The two are of types that cannot be compared.
    """
    left, right = _alike(feature, served, offline)
    there, known = _is_valid(left), _is_valid(right)
    kinds = {"missing": ~there & known, "extra": there & ~known, "different": there & known}
    both = np.flatnonzero(kinds["different"])
    pair = left.take(pa.array(both)), right.take(pa.array(both))
    kinds["different"][both] = _unequal(*pair, rounding)
    excused = np.zeros(len(left), dtype=bool) if may_be_rewritten is None else may_be_rewritten
    wrong = reduce(np.logical_or, kinds.values())
    counts = {kind: int((found & ~excused).sum()) for kind, found in kinds.items()}
    absolute, relative = _largest_differences(*pair, ~excused[both])
    return FeatureSkew(
        feature=feature,
        equal=int((~wrong).sum()),
        rewritten=int((wrong & excused).sum()),
        max_absolute=absolute,
        max_relative=relative,
        min_cosine=_lowest_cosine(*pair, ~excused[both]) if is_vector else None,
        examples=_examples(left, right, {k: found & ~excused for k, found in kinds.items()}),
        **counts,
    )


def _alike(feature: str, served: pa.ChunkedArray, offline: pa.ChunkedArray) -> tuple[Any, Any]:
    right = offline.combine_chunks()
    if pa.types.is_fixed_size_list(right.type) or pa.types.is_large_list(right.type):
        right = right.cast(pa.list_(right.type.value_type))
    try:
        return served.combine_chunks().cast(right.type), right
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise schema_error(
            f"served feature {feature!r}",
            got=served.type,
            expected=f"{right.type}, as the offline store has it",
            remedy="It was served by another version of the service: remove that part of the log.",
        ) from error


def _unequal(
    left: pa.Array, right: pa.Array, rounding: Rounding, largest: Numbers | None = None
) -> Bools:
    """(n,) whether two values, null or not, are not the same."""
    if largest is None:
        largest = np.zeros(len(left))
    there, known = _is_valid(left), _is_valid(right)
    unequal: Bools = there != known
    both = np.flatnonzero(there & known)
    if len(both) < len(left):
        left, right = left.take(pa.array(both)), right.take(pa.array(both))
    if pa.types.is_list(right.type):
        unequal[both] = _unequal_lists(left, right, rounding)
    elif pa.types.is_floating(right.type):
        rule = EXACT if right.type == pa.float64() else rounding
        unequal[both] = rule.unequal(_floats(left), _floats(right), largest[both])
    else:
        unequal[both] = pc.not_equal(left, right).to_numpy(zero_copy_only=False)
    return unequal


def _unequal_lists(left: pa.ListArray, right: pa.ListArray, rounding: Rounding) -> Bools:
    lengths = left.value_lengths().to_numpy()
    unequal: Bools = lengths != right.value_lengths().to_numpy()
    alike = np.flatnonzero(~unequal)
    chosen = pa.array(alike)
    elements = left.take(chosen).flatten(), right.take(chosen).flatten()
    of_element = np.repeat(alike, lengths[alike])
    largest = _largest_of_lists(elements[1], of_element, len(left))
    unequal[of_element[_unequal(*elements, rounding, largest)]] = True
    return unequal


def _largest_of_lists(elements: pa.Array, of_element: NDArray[np.int64], n: int) -> Numbers:
    """(len(elements),) the largest size of a number in the list of each; 0 of other types."""
    largest = np.zeros(n)
    if pa.types.is_floating(elements.type):
        np.fmax.at(largest, of_element, np.abs(_floats(elements)))
    return largest[of_element]


def _largest_differences(
    left: pa.Array, right: pa.Array, counted: Bools
) -> tuple[float | None, float | None]:
    if not (pa.types.is_floating(right.type) or pa.types.is_integer(right.type)):
        return None, None
    a, b = _floats(left)[counted], _floats(right)[counted]
    finite = np.isfinite(a) & np.isfinite(b)
    apart = np.abs(a[finite] - b[finite])
    size = np.maximum(np.abs(a[finite]), np.abs(b[finite]))
    relative = np.divide(apart, size, out=np.zeros_like(apart), where=size > 0)
    return float(apart.max(initial=0.0)), float(relative.max(initial=0.0))


def _lowest_cosine(left: pa.ListArray, right: pa.ListArray, counted: Bools) -> float | None:
    """Of the vectors of equal width, neither of them zero."""
    widths = left.value_lengths().to_numpy()
    rows = np.flatnonzero(counted & (widths == right.value_lengths().to_numpy()))
    if not len(rows) or len(set(widths[rows].tolist())) > 1:
        return None
    a, b = (_floats(side.take(pa.array(rows)).flatten()) for side in (left, right))
    a, b = a.reshape(len(rows), -1), b.reshape(len(rows), -1)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not sizes.any():
        return None
    cosines = np.einsum("nd,nd->n", a, b)[sizes > 0] / sizes[sizes > 0]
    return float(min(1.0, cosines.min()))


def _examples(left: pa.Array, right: pa.Array, kinds: dict[str, Bools]) -> tuple[Example, ...]:
    examples = []
    for kind, found in kinds.items():
        for row in np.flatnonzero(found)[:MAX_EXAMPLES].tolist():
            a, b = left[row].as_py(), right[row].as_py()
            at = _first_difference(a, b)
            examples.append(Example(kind, row, _shown(a, at), _shown(b, at)))
    return tuple(examples)


def _first_difference(left: Any, right: Any) -> int:
    if not (isinstance(left, list) and isinstance(right, list)):
        return 0
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a != b and not (a != a and b != b)), 0)


def _shown(value: Any, at: int) -> str:
    """The value for people, but no text: an item's may be long, a user's is nobody's business."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    if isinstance(value, list):
        element: Sequence[Any] = value[at : at + 1]
        inside = f", [{at}] = {_shown(element[0], 0)}" if element else ""
        return f"{len(value)} elements{inside}"
    return "null" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)


def _is_valid(array: pa.Array) -> Bools:
    valid: Bools = array.is_valid().to_numpy(zero_copy_only=False)
    return valid.copy()


def _floats(array: pa.Array) -> Numbers:
    numbers: Numbers = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return numbers
