"""What is measured of each answer of the past: scores against choices, and lists spread anew."""

from collections import Counter
from dataclasses import replace
from math import log

import numpy as np
import pytest

from cli.feast_repository import open_store
from evaluation.choice_reliability import ChoiceReliability
from evaluation.past import PastRanks
from evaluation.protocol import Ranked, next_positives
from evaluation.varied_answers import STRENGTHS, VariedAnswers
from intake.variety_settings import Variety
from serving.past import PastAnswer, PastRecommender
from serving.variety.spread import spread
from tests.conftest import Project
from tests.trained import before_test
from training.next_item.fit_log import StoredLog

Told = list[tuple[PastAnswer, int]]


@pytest.fixture(scope="module")
def asked(films: Project) -> tuple[Ranked, Told]:
    store = open_store(films.workspace)
    recommender = PastRecommender(films.workspace, store, before_test(films.workspace))
    told: Told = []
    ranks = PastRanks(recommender, told=[lambda answer, at: told.append((answer, at))])
    queries = next_positives(StoredLog(films.workspace, store).events, limit=40)
    return ranks(queries), told


def genres(answer: PastAnswer, row: int) -> list[str]:
    return answer.catalogue.columns.frame["genres"].to_list()[row] or []


def divergence(answer: PastAnswer, rows: list[int]) -> float | None:
    history = answer.history
    assert history is not None
    wanted, shown = Counter[str](), Counter[str]()
    for found, some in ((wanted, history.item[history.positive].tolist()), (shown, rows)):
        for row in some:
            own = genres(answer, row)
            for genre in own:
                found[genre] += 1 / len(own)  # type: ignore[assignment]
    if not wanted:
        return None
    whole, own_whole = sum(wanted.values()), sum(shown.values())
    shares = {genre: part / whole for genre, part in wanted.items()}
    return sum(
        share * log(share / (0.99 * shown[genre] / own_whole + 0.01 * share))
        for genre, share in shares.items()
    )


def test_tables_are_what_a_loop_over_lists_finds(asked: tuple[Ranked, Told]) -> None:
    ranked, told = asked
    varied = VariedAnswers("genres")
    for answer, at in told:
        varied.take(answer, at)
    tables = {table.aim: table for table in varied.tables()}
    assert {aim: len(table.points) - 1 for aim, table in tables.items()} == {
        aim: len(strengths) for aim, strengths in STRENGTHS.items()
    }
    ndcg = [1 / np.log2(1 + rank) if 0 < rank <= 10 else 0.0 for rank in ranked.rank]
    for table in tables.values():
        assert table.points[0].ndcg.mean == pytest.approx(np.mean(ndcg))
        assert table.points[0].difference.mean == 0
    bounded = next(point for point in tables["max_per"].points if point.strength == 2)
    lists = [
        answer.order[
            spread(
                answer.catalogue,
                answer.order[: len(answer.scores)],
                answer.scores,
                None,
                Variety(max_per={"genres": 2}),
                10,
            )
        ]
        for answer, _ in told
    ]
    distances, divergences, few, shown = [], [], [], set()
    for rows, (answer, _) in zip(lists, told, strict=True):
        vectors = answer.catalogue.index.vectors[rows]
        n = len(rows)
        distances.append(
            np.mean([1 - vectors[a] @ vectors[b] for a in range(n) for b in range(n) if a != b])
        )
        divergences.append(divergence(answer, rows.tolist()))
        few.append(sum(answer.catalogue.n_events[row] < 10 for row in rows.tolist()))
        shown |= {answer.catalogue.item_ids[row] for row in rows.tolist()}
    assert bounded.distance == pytest.approx(np.mean(distances), abs=1e-5)
    known = [each for each in divergences if each is not None]
    assert bounded.divergence == pytest.approx(np.mean(known), abs=1e-5)
    assert (bounded.distinct, bounded.few) == (len(shown), np.mean(few))


def test_each_aim_brings_what_it_is_for(asked: tuple[Ranked, Told]) -> None:
    varied = VariedAnswers("genres")
    for answer, at in asked[1]:
        varied.take(answer, at)
    tables = {table.aim: table.points for table in varied.tables()}
    distances = [point.distance or 0 for point in tables["diversity"]]
    divergences = [point.divergence or 0 for point in tables["calibrated"]]
    assert distances[-1] > distances[0] and divergences[-1] < divergences[0]


def test_without_a_column_only_texts_and_places_are_varied(asked: tuple[Ranked, Told]) -> None:
    varied = VariedAnswers(None)
    varied.take(*asked[1][0])
    tables = varied.tables()
    assert {table.aim for table in tables} == {"diversity", "explore"}
    assert tables[0].points[0].divergence is None
    assert VariedAnswers("genres").tables() == []


def test_scores_that_are_chances_are_found_to_be(asked: tuple[Ranked, Told]) -> None:
    """Choices are drawn by the scores; then by other chances than the scores say."""
    rng, found = np.random.default_rng(0), {}
    for power in (1.0, 3.0):
        reliability = ChoiceReliability()
        for _ in range(4000):
            answer, _ = asked[1][0]
            scores = np.sort(rng.dirichlet(np.full(20, 0.8)))[::-1]
            chances = scores**power / (scores**power).sum()
            said = replace(answer, scores=scores.astype(np.float32))
            reliability.take(said, int(rng.choice(20, p=chances)))
        section = reliability.section()
        assert section is not None
        found[power] = section.ece
        assert section.n_answers == 4000 and len(section.bins) == 10
        means = [each.predicted for each in section.bins]
        assert means == sorted(means) and section.greatest >= means[-1]
    assert found[1.0] < 0.01 < 0.04 < found[3.0]


def test_answers_without_the_choice_say_nothing_of_scores(asked: tuple[Ranked, Told]) -> None:
    reliability = ChoiceReliability()
    reliability.take(asked[1][0][0], -1)
    assert reliability.section() is None
