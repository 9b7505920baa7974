"""Reasons that a shopper sees: few, in plain words, and true of the user and the item."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from serving.shopper_reasons import SHOWN, WORDS, favourites, nearest_liked, source_reasons
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench

ALL = 80


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("reasons") / "redis") as opened:
        yield opened


def test_they_are_few_and_speak_of_no_signals(bench: Bench) -> None:
    answer = bench.recommender.recommend("u3", ALL, explain=True)
    assert all(1 <= len(item.reasons) <= SHOWN for item in answer.items)
    kinds = {reason.kind for item in answer.items for reason in item.reasons}
    assert kinds <= {"liked", "category", "source"}
    whole = bench.recommender.recommend("u3", ALL, debug=True)
    for item, all_of in zip(answer.items, whole.items, strict=True):
        shown = [reason.text for reason in item.reasons]
        assert shown == [reason.text for reason in all_of.reasons][: len(shown)]
    assert any(reason.kind == "signal" for reason in whole.items[0].reasons)


def test_categories_are_those_that_the_user_likes_most(bench: Bench, films: Project) -> None:
    table = pl.read_parquet(films.workspace.dataset.folder / "items.parquet")
    genres = dict(zip(table["item_id"].to_list(), table["genres"].to_list(), strict=True))
    liked = [item for item, own in genres.items() if own and "Western" in own][:5]
    bench.write_user("fan", liked)
    counts = Counter(genre for item in liked for genre in genres[item])
    often = {genre for genre, n in counts.items() if n >= 3}
    assert "Western" in often
    answer = bench.recommender.recommend("fan", ALL, debug=True)
    n_said = 0
    for item in answer.items:
        said = [each.text for each in item.reasons if each.kind == "category"]
        own = {*(genres[item.item_id] or [])}
        n_said += len(said)
        assert said or "Western" not in own
        for text in said:
            column, words = text.split(" you choose most: ")
            assert column == "genres"
            assert {*words.split(", ")} <= own & often
    assert 0 < n_said < len(answer.items)
    nobody = bench.recommender.recommend("nobody", ALL, explain=True)
    assert {each.kind for item in nobody.items for each in item.reasons} == {"source"}


def test_where_nobody_rates_an_item_was_chosen_and_nobody_is_said_to_like_it(
    shop: Project, tmp_path: Path
) -> None:
    with open_bench(shop.workspace, tmp_path / "redis") as bench:
        answers = [bench.recommender.recommend(user, ALL, debug=True) for user in ("客户3", "new")]
    items = [item for answer in answers for item in answer.items]
    texts = [reason.text for item in items for reason in item.reasons]
    assert any(text.startswith("because you chose ") for text in texts)
    assert [text for text in texts if "liked" in text] == []
    assert {item.liked for item in items} == {None}
    assert {source for item in items for source in item.sources}.isdisjoint(
        {"disliked", "liked_rate"}
    )


def test_another_item_of_one_title_is_said_to_be_another(bench: Bench) -> None:
    catalogue = replace(bench.catalogue, titles=["Dune"] * len(bench.catalogue))
    found = nearest_liked(catalogue, ["f12"], bench.catalogue.item_ids)
    texts = {reason.text for reasons in found for reason in reasons}
    assert texts == {"because you liked another one of this title"}


def test_a_category_that_everybody_chooses_is_no_reason() -> None:
    everybody = np.array([0.7, 0.2, 0.05])
    always, often, twice = [1, 0, 0], [1, 1, 0], [1, 0, 1]
    liked = sp.csr_matrix([always] * 5 + [often] * 6 + [twice] * 2)
    assert favourites(liked, everybody).tolist() == [1]
    assert favourites(liked[:0], everybody).tolist() == []
    few = sp.csr_matrix([always] * 7 + [often] * 3)  # 3 of 10: above a fifth, but by chance
    assert favourites(few, everybody).tolist() == []


def test_the_item_chosen_last_is_named_and_the_request_comes_first() -> None:
    texts = [each.text for each in source_reasons([*WORDS][::-1], "liked", "Alien")]
    assert texts[0] == "near to your request"
    assert "often chosen next after Alien" in texts
    assert len(texts) == len(WORDS)
    unrated = [each.text for each in source_reasons([*WORDS], "chose")]
    assert "liked by most who chose it" in texts and not [t for t in unrated if "liked" in t]
