"""What a filter lets pass, beside plain Python; and that nothing else than a filter is read."""

from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.filters.filter_text import MAX_CHARACTERS, FilterError
from serving.filters.item_columns import ItemColumns
from serving.filters.predicate import ItemColumn
from tests.serving.filters.random_filters import RandomFilters

PRICES, MAKERS, GENRES = (
    [0.5, 3, 7.25, 20, -1],
    ["a b", "ü", "it's"],
    ["Comedy", "Horror", "", "無"],
)
_COLUMNS = {
    "price": ItemColumn("number", is_flag=False),
    "maker": ItemColumn("text", is_flag=False),
    "genres": ItemColumn("texts", is_flag=False),
    "in_stock": ItemColumn("number", is_flag=True),
    "new": ItemColumn("text", is_flag=True),
}
_WORDS = [*_COLUMNS, "'Comedy'", "3", "1e9", "None", "True", "x", "[", "]", "(", ")", "'", '"']
_WORDS += [
    "and",
    "or",
    "not",
    "in",
    "is",
    "<",
    "<=",
    "==",
    "!=",
    ",",
    ".",
    ":",
    ":=",
    "lambda",
    "+",
]
_WORDS += ["if", "else", "for", "{", "}", "f'{price}'", "*", "column(", "#", "\ud800", "\x00"]


def _columns(n: int) -> ItemColumns:
    random = Random(1)

    def some(values: list[object]) -> list[object]:
        return [random.choice([*values, None]) for _ in range(n)]

    lists = [random.sample(GENRES, random.randint(0, 3)) for _ in range(n)]
    data = {
        "price": some([float(each) for each in PRICES]),
        "maker": some([*MAKERS]),
        "genres": [None if at % 5 == 0 else each for at, each in enumerate(lists)],
        "in_stock": some([0.0, 1.0]),
        "new": some(["true", "True", "false"]),
    }
    return ItemColumns(
        pl.DataFrame(data, schema_overrides={"genres": pl.List(pl.String)}),
        _COLUMNS,
        ("maker", "genres"),
    )


COLUMNS = _columns(60)


@given(seed=st.integers(0, 2**32))
def test_a_filter_lets_pass_what_plain_python_does(seed: int) -> None:
    drawn = RandomFilters(
        Random(seed),
        {"price": PRICES},
        {"maker": MAKERS},
        {"genres": GENRES},
        ("in_stock", "new"),
    ).draw()
    items = COLUMNS.frame.to_dicts()
    assert COLUMNS.passing(drawn.text).tolist() == drawn.passing(items), drawn.text


@given(text=st.one_of(st.text(), st.lists(st.sampled_from(_WORDS), max_size=30).map(" ".join)))
def test_any_other_text_is_refused_at_a_place_in_it(text: str) -> None:
    try:
        passing = COLUMNS.passing(text)
    except FilterError as error:
        assert 1 <= error.position <= len(text) + 1
        assert f"character {error.position}: got " in str(error)
    else:
        assert passing.shape == (60,)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("price <", 8),
        ("  prize < 3", 3),
        ("'無' in genres and \tprize < 3", 20),
        ("__import__('os').system('true')", 1),
        ("price.__class__ == 3", 1),
        ("(lambda: True)()", 1),
        ("in_stock and (x := 3)", 15),
        ("maker == f'{price}'", 10),
        ("price in [x for x in (1, 2)]", 10),
        ("price < " + "9" * 400, 9),
        ("price < 1e999", 9),
        ("price == None", 10),
        ("price < 10 ** 9", 9),
        ("price", 1),
        ("maker < 'b'", 1),
        ("maker == 3", 10),
        ("price == 'b'", 10),
        ("'a' in maker", 8),
        ("1 < 2", 1),
        ("True", 1),
        ("maker == '\\ud800'", 10),
        ("not " * 33 + "in_stock", 129),
        ("(" * 1000, 201),
        ("-" * 3999 + "1", 1),
        ("p" * (MAX_CHARACTERS + 1), MAX_CHARACTERS + 1),
        ("maker = 'b'", 7),
        ("maker == 'a=b' and price = 3", 26),
    ],
)
def test_what_is_wrong_or_hostile_is_refused_where_it_is(text: str, position: int) -> None:
    with pytest.raises(FilterError) as caught:
        COLUMNS.passing(text)
    assert caught.value.position == position


def test_a_single_equals_sign_is_told_how_to_compare() -> None:
    with pytest.raises(FilterError, match="a single =, expected == to compare") as caught:
        COLUMNS.passing("maker = 'b'")
    assert "'Comedy' in genres" in str(caught.value)
    assert COLUMNS.passing("maker == 'a=b'").sum() == 0
    with pytest.raises(FilterError, match="no expression"):
        COLUMNS.passing("maker == 'a=b' and")


def test_a_large_filter_is_read() -> None:
    assert COLUMNS.passing("in_stock and " * 300 + "in_stock").any()
    assert not COLUMNS.passing("new in [" + "'a'," * 990 + "]").any()


def test_an_error_names_the_columns_and_points_to_the_place() -> None:
    with pytest.raises(FilterError, match="one of price, maker, genres, in_stock, new") as caught:
        COLUMNS.passing("in_stock and cost < 3")
    *_, line, caret = str(caught.value).splitlines()
    assert line[caret.index("^") :].startswith("cost")
