"""Which column is the title, what stands in the text, and which role a name decides."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from intake.name_hints import hint_of
from intake.proposal.features import Features, find_features
from intake.proposal.seen_column import see_column

NOW = datetime(2026, 1, 1, tzinfo=UTC)
N = 60
WINES = [f"{['Rioja', 'Chianti', 'Mosel'][at % 3]} {1990 + at % 10}" for at in range(N)]  # shared
NOTES = [f"Smells of {at} herbs." for at in range(N)]  # one each, and short
LONG = [f"Grown on hill {at}, pressed by hand, and kept for {at} months in oak." for at in range(N)]


def found_of(with_title: bool = True, **columns: list[str]) -> Features:
    seen = [see_column(n, pa.chunked_array([pa.array(v)]), NOW) for n, v in columns.items()]
    return find_features(seen, with_title=with_title)


@pytest.mark.parametrize("name", ["title", "Titel", "título", "nombre", "Produktname", "名称"])
@pytest.mark.parametrize("texts", [NOTES, LONG])
def test_a_column_that_is_called_title_is_the_title(name: str, texts: list[str]) -> None:
    """Editions share a title, descriptions are each item's own; the name decides all the same."""
    assert len({*WINES}) < len({*texts})
    for columns in ({name: WINES, "description": texts}, {"description": texts, name: WINES}):
        found = found_of(**columns)
        assert found.title == name
        assert found.own + found.prose == ("description",)
        assert found.template("").startswith(f"{{{name}}}. ")
        assert found.template("").endswith("{description}.")
        assert found.left_out == {}


def test_without_a_name_the_title_is_short_and_each_item_has_its_own() -> None:
    own = [f"Bottle {at} red" for at in range(N)]
    found = found_of(column_1=[f"X{at}" for at in range(N)], column_2=LONG, column_3=own)
    assert (found.title, found.prose) == ("column_3", ("column_2",))
    assert found.left_out == {"column_1": "an id: most rows have their own"}
    assert "own" in found.reasons["title"][0]


def test_a_description_names_items_where_nothing_else_does() -> None:
    own = [f"CAFÉ SET {at}" for at in range(N)]
    assert found_of(Description=own, Country=["UK", "FR"] * (N // 2)).title == "Description"
    assert found_of(column_1=own, description=LONG).title == "column_1"


def test_short_texts_of_one_item_each_are_in_the_text() -> None:
    found = found_of(title=WINES, subtitle=NOTES, sku=[f"A-{at}" for at in range(N)])
    assert found.own == ("subtitle",)
    assert found.template("") == "{title}. Subtitle: {subtitle}."
    assert [*found.left_out] == ["sku"]


def test_of_more_texts_than_fit_the_others_are_named() -> None:
    more = {f"story_{at}": [f"{text} {at}" for text in LONG] for at in range(3)}
    found = found_of(title=WINES, **more)
    assert found.prose == ("story_0", "story_1") and [*found.left_out] == ["story_2"]


def test_a_category_is_shown_with_how_many_values_it_has() -> None:
    styles = ["dry|red", "red", "dry", "red|oak"] * (N // 4)
    found = found_of(style=styles, grape=["a", "b"] * (N // 2), title=WINES)
    assert found.lists == {"style": "|"}
    assert "style (3), grape (2)" in found.reasons["categorical"][0]


def test_numbers_with_a_decimal_comma_are_told_from_ids() -> None:
    prices = [f"{1 + at % 9},{at % 10}9" for at in range(N)]
    found = found_of(title=WINES, price=prices)
    assert "decimal comma" in found.left_out["price"]


def test_users_have_no_title_and_no_text() -> None:
    found = found_of(with_title=False, name=WINES, motto=LONG, country=["DE", "TR"] * (N // 2))
    assert found.names == ("country",)
    assert [*found.left_out] == ["name", "motto"]


def test_a_clear_name_is_told_from_a_vague_one() -> None:
    for role, clear, vague, none in (
        ("user", "Customer ID", "session_id", "price"),
        ("title", "Artikelname", "description", "isbn"),
        ("value", "rating", "value", "title"),
        ("time", "order_date", "created", "genre"),
        ("event", "Order-ID", "InvoiceNo", "order"),
    ):
        assert [hint_of(each, role) for each in (clear, vague, none)] == [2, 1, 0]
