"""Filters drawn at random with all operators, and the slow version of what each lets pass.

The slow version looks at one item at a time, in plain Python. None is an unknown truth.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Item = Mapping[str, Any]
Truth = Callable[[Item], bool | None]

_ORDERS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Drawn:
    """The text of a filter, and the truth of it for an item."""

    text: str
    truth: Truth

    def passing(self, items: Sequence[Item]) -> list[bool]:
        return [self.truth(item) is True for item in items]


@dataclass(frozen=True)
class RandomFilters:
    """Draws filters on columns, from the values that these have."""

    random: Random
    numbers: Mapping[str, Sequence[float]]
    single: Mapping[str, Sequence[str]]
    several: Mapping[str, Sequence[str]]
    flags: Sequence[str] = ()

    def draw(self, depth: int = 3) -> Drawn:
        kind = self.random.choice(["and", "or", "not", *["compare"] * 3]) if depth else "compare"
        if kind == "not":
            inner = self.draw(depth - 1)
            return Drawn(f"not ({inner.text})", lambda item: _not(inner.truth(item)))
        if kind == "compare":
            return self._comparison()
        parts = [self.draw(depth - 1) for _ in range(self.random.randint(2, 3))]
        fold = _all if kind == "and" else _any
        text = f" {kind} ".join(f"({part.text})" for part in parts)
        return Drawn(text, lambda item: fold([part.truth(item) for part in parts]))

    def _comparison(self) -> Drawn:
        kinds = [self._number, self._chain, self._none]
        kinds += [self._single, self._one_of] if self.single else []
        kinds += [self._several, self._any_of, self._has] if self.several else []
        kinds += [self._flag] if self.flags else []
        return self.random.choice(kinds)()

    def _number(self) -> Drawn:
        name, value, sign = *self._value(self.numbers), self.random.choice([*_ORDERS])
        compare = _ORDERS[sign]
        if self.random.random() < 0.3:
            return Drawn(f"{value} {sign} {name}", _known(name, lambda held: compare(value, held)))
        return Drawn(f"{name} {sign} {value}", _known(name, lambda held: compare(held, value)))

    def _chain(self) -> Drawn:
        name, low = self._value(self.numbers)
        high = self.random.choice(self.numbers[name])
        return Drawn(f"{low} <= {name} < {high}", _known(name, lambda held: low <= held < high))

    def _none(self) -> Drawn:
        name, _ = self._value({**self.numbers, **self.single, **self.several})
        if self.random.random() < 0.5:
            return Drawn(f"{name} is None", lambda item: item[name] is None)
        return Drawn(f"column({name!r}) is not None", lambda item: item[name] is not None)

    def _single(self) -> Drawn:
        name, value = self._value(self.single)
        if self.random.random() < 0.5:
            return Drawn(f"{name} == {value!r}", _known(name, lambda held: held == value))
        return Drawn(f"{value!r} != {name}", _known(name, lambda held: held != value))

    def _one_of(self) -> Drawn:
        name, _ = self._value(self.single)
        values = self.random.choices(self.single[name], k=2)
        return Drawn(f"{name} not in {values!r}", _known(name, lambda held: held not in values))

    def _several(self) -> Drawn:
        name, value = self._value(self.several)
        if self.random.random() < 0.5:
            return Drawn(f"{name} == {value!r}", _known(name, lambda held: value in held))
        return Drawn(f"{name} != {value!r}", _known(name, lambda held: value not in held))

    def _any_of(self) -> Drawn:
        name, _ = self._value(self.several)
        values = tuple(self.random.choices(self.several[name], k=2))
        return Drawn(f"{name} in {values!r}", _known(name, lambda held: bool({*values} & {*held})))

    def _has(self) -> Drawn:
        name, value = self._value(self.several)
        if self.random.random() < 0.5:
            return Drawn(f"{value!r} in {name}", _known(name, lambda held: value in held))
        return Drawn(f"{value!r} not in {name}", _known(name, lambda held: value not in held))

    def _flag(self) -> Drawn:
        name = self.random.choice(self.flags)
        return Drawn(name, _known(name, lambda held: held in (1, "true", "True")))

    def _value(self, columns: Mapping[str, Sequence[Any]]) -> tuple[str, Any]:
        name = self.random.choice([*columns])
        return name, self.random.choice(columns[name])


def _known(name: str, truth: Callable[[Any], bool]) -> Truth:
    return lambda item: None if item[name] is None else truth(item[name])


def _not(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _all(truths: list[bool | None]) -> bool | None:
    if False in truths:
        return False
    return None if None in truths else True


def _any(truths: list[bool | None]) -> bool | None:
    return _not(_all([_not(each) for each in truths]))
