"""Places that try items out: which, how often, and what their chances are good for."""

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from intake.variety_settings import Variety
from serving.catalogue import Catalogue
from serving.filters.item_columns import ItemColumns
from serving.variety.exploration import Tried, explore
from tests.serving.test_candidates import make_catalogue

N, FEW, TOP, REQUESTS = 40, 8, 5, 4_000
SHARE = 0.3


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The last eight items have fewer than five events; the genres of all are one of two."""
    genre = pl.DataFrame({"genre": ["odd" if at % 2 else "even" for at in range(N)]})
    events = np.where(np.arange(N) < N - FEW, 100, np.arange(N) - (N - FEW - 1)).clip(0, 100)
    events[N - FEW :] %= 5
    made = make_catalogue(N, n_cold=0)
    return replace(made, n_events=events, columns=ItemColumns(genre, {}, ("genre",)))


ROWS = np.arange(N)
SCORES = np.linspace(2, 1, N, dtype=np.float32) / np.linspace(2, 1, N).sum()


def tried(catalogue: Catalogue, request: object, **settings: object) -> Tried:
    variety = Variety(explore=SHARE, explore_below=5).asked(settings)
    return explore(catalogue, ROWS, SCORES, np.arange(TOP), variety, f"request {request}")


def test_the_same_request_tries_the_same(catalogue: Catalogue) -> None:
    first = [tried(catalogue, at, explore_places=2).best.tolist() for at in range(50)]
    again = [tried(catalogue, at, explore_places=2).best.tolist() for at in range(50)]
    assert first == again
    assert len({tuple(each) for each in first}) > 5


def test_items_of_few_events_get_the_last_places_as_often_as_they_say(catalogue: Catalogue) -> None:
    seen: Counter[tuple[int, int]] = Counter()
    said: dict[tuple[int, int], set[float]] = {}
    for request in range(REQUESTS):
        found = tried(catalogue, request)
        assert found.propensity is not None
        assert found.best[:-1].tolist() == list(range(TOP - 1))
        assert (found.propensity[:-1] == 1).all()
        item = int(found.best[-1])
        seen[TOP - 1, item] += 1
        said.setdefault((TOP - 1, item), set()).add(round(float(found.propensity[-1]), 12))
    assert {item for _, item in seen} == {TOP - 1, *range(N - FEW, N)}
    for key, n in seen.items():
        (chance,) = said[key]
        error = (chance * (1 - chance) / REQUESTS) ** 0.5
        assert abs(n / REQUESTS - chance) < 4.5 * error
    assert sum(chance for (chance,) in said.values()) == pytest.approx(1)


def test_nothing_is_tried_twice_and_bounds_hold(catalogue: Catalogue) -> None:
    for request in range(300):
        found = tried(catalogue, request, explore=0.8, explore_places=4, max_per={"genre": 3})
        counts = Counter((found.best % 2).tolist())
        assert len(set(found.best.tolist())) == len(found.best) == TOP
        assert max(counts.values()) <= 3


def test_where_no_item_has_few_events_nothing_is_tried(catalogue: Catalogue) -> None:
    known = replace(catalogue, n_events=np.full(N, 100))
    for request in range(50):
        found = tried(known, request)
        assert found.best.tolist() == list(range(TOP))
        assert found.propensity is not None and (found.propensity == 1).all()


def test_weighted_answers_tell_the_worth_of_another_policy(catalogue: Catalogue) -> None:
    """Logged: what was shown in the last place, its chance, and whether it was chosen.

    Judged: a policy that would always show the newest item there, of which the log has one answer
    in fifty. Without the weights the log says what its own policy is worth.
    """
    rng = np.random.default_rng(0)
    chosen_if_shown = rng.uniform(0.05, 0.3, N)
    chosen_if_shown[N - 1] = 0.8
    weighted, plain = [], []
    for request in range(REQUESTS):
        found = tried(catalogue, request)
        assert found.propensity is not None
        item, chance = int(found.best[-1]), float(found.propensity[-1])
        is_chosen = rng.random() < chosen_if_shown[item]
        weighted.append(is_chosen * (item == N - 1) / chance)
        plain.append(is_chosen)
    error = float(np.std(weighted)) / REQUESTS**0.5
    assert error < 0.15
    assert np.mean(weighted) == pytest.approx(0.8, abs=3 * error)
    assert np.mean(plain) < 0.8 - 3 * error
