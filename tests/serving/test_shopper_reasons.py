"""Reasons that a shopper sees: few, in plain words, and true of the user and the item."""

from collections import Counter
from collections.abc import Iterator

import polars as pl
import pytest

from serving.shopper_reasons import SHOWN, WORDS, source_reasons
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


def test_the_item_chosen_last_is_named_and_the_request_comes_first() -> None:
    texts = [each.text for each in source_reasons([*WORDS][::-1], "Alien")]
    assert texts[0] == "near to your request"
    assert "often chosen next after Alien" in texts
    assert len(texts) == len(WORDS)
