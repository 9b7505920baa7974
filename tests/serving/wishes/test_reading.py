"""What the words of a clause name: categories, people, years, and what is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.wishes.reading import Mention, read_clause
from serving.wishes.wording import Wording
from tests.serving.wishes.wordings import FILMS, wording


@pytest.fixture(scope="module")
def films() -> Wording:
    return wording()


def fitting(mention: Mention) -> list[int]:
    return mention.rows.tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("horror", [0]),
        ("HORROR movies!", [0]),
        ("a h\u00f3rror story", [0]),
        ("dramas", [2, 3]),
        ("a film for children", [4]),
        ("film noir", [2]),
        ("filmnoir", [2]),
        ("noir", [2]),
        ("kids", [4]),
        ("hitchcock", [0, 3]),
        ("films by Hitchcock", [0]),
        ("starring Alfred Hitchcock", [3]),
        ("directed by Joel Coen", [1]),
        ("by the coen", [1]),
        ("by de niro", [4]),
        ("with De Niro", [1]),
        ("by stone", [3]),
        ("with jose ferrer", [3]),
        ("from the 90s", [1]),
        ("from the sixties", [3]),
        ("before 1964", [4]),
        ("until 1964", [3, 4]),
        ("after 1964", [0, 1]),
        ("between 1960 and 1985", [0, 3]),
        ("1995", [1]),
        ("old", [3, 4]),
    ],
)
def test_words_name_the_items_that_have_them(films: Wording, text: str, rows: list[int]) -> None:
    (mention,) = read_clause(text, films).mentions
    assert fitting(mention) == rows


@pytest.mark.parametrize("text", ["with love", "a stone", "stories", "a film", "quantum", "the"])
def test_words_that_are_more_than_a_surname_name_nobody(films: Wording, text: str) -> None:
    """ "Love" and "stone" stand in titles too, so it takes a "by" before them."""
    assert not read_clause(text, films).mentions


def test_several_values_are_several_mentions(films: Wording) -> None:
    reading = read_clause("a drama from the 60s by Stone, with robots in deep space", films)
    assert [fitting(mention) for mention in reading.mentions] == [[3], [2, 3], [3]]
    assert reading.runs == ("robots", "deep space")
    assert reading.rest == ("robot", "deep", "space")


def test_what_is_said_again_is_said_once(films: Wording) -> None:
    assert len(read_clause("horror horror 1980 horror 1980", films).mentions) == 2


def test_part_of_a_value_may_mean_others_too(films: Wording) -> None:
    assert read_clause("noir", films).runs == ("noir",)
    assert read_clause("film noir", films).runs == ()


def test_what_is_wanted_by_name_is_not_what_another_word_stands_for(films: Wording) -> None:
    (horror,) = read_clause("horror", films).mentions
    (violent,) = read_clause("violent", films).mentions
    assert violent.values == horror.values
    assert not read_clause("violent", films, {*horror.values}).mentions


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    reading = read_clause(text, _FILMS)
    assert all(0 <= row < len(FILMS) for mention in reading.mentions for row in mention.rows)


_FILMS = wording()
