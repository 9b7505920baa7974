"""What a query refuses is told from what it wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.wishes.clauses import split_clauses


@pytest.mark.parametrize(
    ("text", "wanted", "refused"),
    [
        ("robots", ["robots"], []),
        ("not violent", [], ["violent"]),
        ("a comedy without romance, in space", ["a comedy , in space"], ["romance"]),
        ("No horror. Not drama", [], ["horror", "drama"]),
        ("no horror no drama", [], ["horror", "drama"]),
        ("nothing", ["nothing"], []),
        ("not violent but funny", ["but funny"], ["violent"]),
        ("horror but not horror", ["horror but"], ["horror"]),
        ("everything except for westerns", ["everything"], ["westerns"]),
        ("anything but horror", [], ["horror"]),
        ("a comedy, not too violent for kids", ["a comedy, for kids"], ["too violent"]),
        ("no films by Hitchcock", [], ["films by Hitchcock"]),
        ("not for children", [], ["for children"]),
        ("a film that isn't sad", ["a film that"], ["sad"]),
        ("a non-violent film", ["a film"], ["violent"]),
        ("dairy-free bread", ["bread"], ["dairy"]),
        ("nothing but horror", ["nothing but horror"], []),
        ("no films, please", ["no films, please"], []),
        ("...", [], []),
    ],
)
def test_what_is_refused_is_told_from_what_is_wanted(
    text: str, wanted: list[str], refused: list[str]
) -> None:
    clauses = split_clauses(text)
    assert [each.text for each in clauses if each.sense == "wanted"] == wanted
    assert [each.text for each in clauses if each.sense == "refused"] == refused


@given(st.lists(st.sampled_from(["not", "no", "but", "for", "horror", ",", "n't", "x-free"])))
def test_any_order_of_words_is_split(words: list[str]) -> None:
    clauses = split_clauses(" ".join(words))
    assert all(each.text.strip() for each in clauses)
    assert sum(each.sense == "wanted" for each in clauses) <= 1
