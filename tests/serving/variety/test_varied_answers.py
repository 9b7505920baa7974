"""A recommender's answers under `[variety]`: ranked, popular and of the past."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from pydantic_core import to_json

from intake.variety_settings import Variety
from serving.answers import OVERLOADED, Recommendations
from serving.served_log import ServedLog
from tests.conftest import Project
from tests.serving.recommending import Bench, open_bench
from transformations.served_files import PLACE, PROPENSITY, served_files

CAPPED = {"max_per": {"genres": 1}}


@pytest.fixture(scope="module")
def bench(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(films.workspace, tmp_path_factory.mktemp("varied") / "redis") as opened:
        yield opened


@pytest.fixture(scope="module")
def genres(films: Project) -> dict[str, list[str]]:
    table = pl.read_parquet(films.workspace.dataset.folder / "items.parquet")
    return dict(zip(table["item_id"].to_list(), table["genres"].to_list(), strict=True))


def ids(answer: Recommendations) -> list[str]:
    return [item.item_id for item in answer.items]


def most(answer: Recommendations, genres: dict[str, list[str]]) -> int:
    return max(Counter(genre for each in ids(answer) for genre in genres[each] or []).values())


def test_without_variety_answers_are_equal_to_the_byte(bench: Bench) -> None:
    zeros = {"diversity": 0.0, "calibrated": {"genres": 0.0}, "max_per": {}, "explore": 0.0}
    for user in ("u3", "nobody"):
        plain, asked = (
            to_json(bench.recommender.recommend(user, 10, variety=variety).items)
            for variety in ({}, zeros)
        )
        assert plain == asked


def test_bounds_hold_in_answers_of_every_kind(
    bench: Bench, films: Project, genres: dict[str, list[str]]
) -> None:
    recommender = bench.recommender
    assert most(recommender.recommend("u3", 10), genres) > 1
    assert most(recommender.recommend_popular("u3", 10, (), OVERLOADED), genres) > 1
    past = recommender.as_of(datetime.now(UTC))
    answers = [
        recommender.recommend("u3", 10, variety=CAPPED),
        recommender.recommend("nobody", 10, query="a western", variety=CAPPED),
        recommender.recommend_popular("u3", 10, (), OVERLOADED, variety=CAPPED),
        past.recommend("u3", 10, variety=CAPPED),
    ]
    for answer in answers:
        assert most(answer, genres) == 1
        assert len(answer.items) >= 2
    assert ids(answers[0]) == ids(answers[3])
    assert ids(answers[0])[0] == ids(recommender.recommend("u3", 1))[0]


def test_texts_of_diverse_answers_are_farther_apart(bench: Bench) -> None:
    def closeness(strength: float) -> float:
        found = []
        for user in ("u1", "u3", "u8", "nobody"):
            answer = bench.recommender.recommend(user, 8, variety={"diversity": strength})
            vectors = np.stack([bench.catalogue.vector(each) for each in ids(answer)])
            found.append((vectors @ vectors.T)[~np.eye(8, dtype=bool)].mean())
        return float(np.mean(found))

    near = [closeness(strength) for strength in (0.0, 0.6, 0.95)]
    assert near == sorted(near, reverse=True) and near[0] > near[2] + 0.05


def test_what_is_explored_is_logged_with_its_chance(
    films: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("explored")
    variety = Variety(explore=0.5, explore_below=10_000)
    with (
        ServedLog(folder / "log", 1.0) as log,
        open_bench(films.workspace, folder / "redis", served_log=log) as bench,
    ):
        wanted = variety.model_dump()
        answers = {
            at: bench.recommender.recommend("u3", 5, variety=wanted, request_id=f"r{at}")
            for at in range(12)
        }
        plain = ids(bench.recommender.recommend("u3", 5))
        again = bench.recommender.recommend("u3", 5, variety=wanted, request_id="r3")
    assert ids(again) == ids(answers[3])
    tails = {ids(answer)[-1] for answer in answers.values()}
    assert len(tails) > 2 and all(ids(answer)[:4] == plain[:4] for answer in answers.values())
    for answer in answers.values():
        chance = answer.items[-1].propensity
        assert chance is not None
        assert chance == 0.5 if ids(answer) == plain else 0 < chance < 0.5
    table = pl.concat([pl.read_parquet(path) for path in served_files(folder / "log")])
    first = table.filter(pl.col(PLACE) == 5)
    logged = Counter(zip(first["item_id"].to_list(), first[PROPENSITY].to_list(), strict=True))
    shown = [answer.items[-1] for answer in [*answers.values(), again]]
    shown_chances = Counter((item.item_id, item.propensity) for item in shown)
    assert logged == shown_chances + Counter([(plain[-1], 1.0)])
