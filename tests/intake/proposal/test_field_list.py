"""Several values in a field are told from names, sentences and numbers with the same mark."""

import random
from itertools import product

import polars as pl
import pytest

from intake.proposal.field_list import find_field_list

FIRST = ["Ayla", "Bo", "Chidi", "Dana", "Emre", "Fumi", "James", "Paul"]
LAST = ["Adeyemi", "Brandt", "Castro", "Demir", "Egger", "James", "Paul", "Quinn"]
WINES = ["dry", "fruity", "oak", "organic", "red", "sparkling", "sweet", "white"]
DICE = random.Random(11)


def some(n: int) -> list[list[str]]:
    return [sorted(DICE.sample(WINES, DICE.choice([1, 2, 3]))) for _ in range(n)]


LISTS = {
    "a rare mark": (["oak"] * 40 + ["red"] * 40 + ["oak|red", "red|sweet", "sweet"], "|"),
    "a mark between spaces": ([" | ".join(each) for each in some(90)], " | "),
    "commas in the order of the alphabet": ([", ".join(each) for each in some(90)], ", "),
    "commas without a space": ([",".join(each) for each in some(90)], ","),
    "names as they are spoken": (
        [
            ", ".join(f"{a} {b}" for a, b in DICE.choices([*product(FIRST, LAST)], k=k))
            for k in [1, 1, 2, 3] * 60
        ],
        ", ",
    ),
    "names, the last first, between semicolons": (
        [
            "; ".join(f"{b}, {a}" for a, b in DICE.choices([*product(FIRST, LAST)], k=k))
            for k in [1, 1, 2, 3] * 60
        ],
        "; ",
    ),
}
NO_LISTS = {
    "the last name first": [f"{last}, {first}" for first, last in product(FIRST, LAST)],
    "half of them so": [
        f"{last}, {first}" if at % 2 else f"{first} {last}"
        for at, (first, last) in enumerate(product(FIRST, LAST))
    ],
    "places": [f"Town {at % 40}, {['DE', 'TR', 'UK'][at % 3]}" for at in range(200)],
    "volumes": [f"{name} Saga{', Volume 2' * (at % 2)}" for at, name in enumerate(LAST * 4)],
    "decimal commas": [f"{whole},{part}" for whole, part in product(range(12), range(12))],
    "sentences": ["Yes, it is good", "No, it is not", "Well, who knows"] * 9,
    "companies": ["Smith, Elder & Co.", "Little, Brown and Company", "Penguin"] * 9,
    "escaped letters": ["H&amp;M", "A&amp;B", "Plain"] * 9,
    "one with a mark": ["oak|red"] + ["oak", "red"] * 20,
}


@pytest.mark.parametrize("name", LISTS)
def test_values_that_recur_in_several_places_are_a_list(name: str) -> None:
    fields, mark = LISTS[name]
    found = find_field_list("column_3", pl.Series(fields))
    assert found is not None and found.mark == mark
    assert found.n_values == len({part for field in fields for part in field.split(mark)})
    assert found.n_fields == len({*fields}) and mark in found.example
    assert found.share == sum(mark in field for field in fields) / len(fields)


@pytest.mark.parametrize("name", NO_LISTS)
def test_other_fields_with_a_mark_are_one_value(name: str) -> None:
    assert find_field_list("column_3", pl.Series(NO_LISTS[name])) is None


def test_a_name_that_says_list_decides_where_the_values_keep_their_places() -> None:
    fields = pl.Series(["Guitar, Music", "Lamp, Home", "Tent, Home", "Drum, Music", "Rug, Home"])
    assert find_field_list("shelf", fields) is None
    found = find_field_list("Categories", fields)
    assert found is not None and found.mark == ", "
