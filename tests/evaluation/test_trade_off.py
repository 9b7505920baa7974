"""Other weights order the same answers anew."""

import numpy as np
import pytest

from evaluation.report.document import TradeOff
from evaluation.trade_off import WEIGHTS, Term, TradeOffs
from intake.model_settings import RankerConfig

Answers = list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]


def answers(n: int = 20, m: int = 30) -> Answers:
    """Logits of being chosen, probabilities of being liked, values, and where the chosen one is."""
    rng, found = np.random.default_rng(0), []
    for _ in range(n):
        values = rng.uniform(1, 50, m)
        values[rng.random(m) < 0.2] = np.nan
        at = int(rng.integers(-1, m))
        found.append((rng.normal(size=m), rng.uniform(0.01, 0.99, m), values, at))
    return found


def spoken(term: Term, liked: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What a weight of the term counts."""
    if term == "satisfaction":
        return np.asarray(np.log(liked / (1 - liked)))
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values))
    return np.nan_to_num((values - known.mean()) / known.std())


def given(served: RankerConfig, asked: Answers) -> TradeOffs:
    """What takes in the answers as a service with these weights gives them."""
    found = TradeOffs(served)
    for chosen, liked, values, at in asked:
        logits = chosen + served.satisfaction * spoken("satisfaction", liked, values)
        logits = logits + served.value * spoken("value", liked, values)
        order = np.argsort(-logits)
        shares = np.exp(logits) / np.exp(logits).sum()
        place = order.tolist().index(at) if at >= 0 else -1
        found.take(
            shares[order].astype(np.float32),
            liked[order].astype(np.float32),
            values[order],
            place,
        )
    return found


def curve(found: TradeOffs, term: Term) -> TradeOff:
    return next(each for each in found.curves() if each.term == term)


@pytest.mark.parametrize("term", ["satisfaction", "value"])
@pytest.mark.parametrize("served", [(0.0, 0.0), (0.5, 0.0), (0.2, 0.7)])
def test_weights_move_answers_from_chosen_to_gained(
    served: tuple[float, float], term: Term
) -> None:
    asked = answers()
    config = RankerConfig(satisfaction=served[0], value=served[1])
    found = curve(given(config, asked), term)
    assert [point.label for point in found.points] == [f"{weight:g}" for weight in WEIGHTS]
    other: Term = "value" if term == "satisfaction" else "satisfaction"
    for point, weight in zip(found.points, WEIGHTS, strict=True):
        ndcg, gained = [], []
        for chosen, liked, values, at in asked:
            logits = chosen + weight * spoken(term, liked, values)
            logits = logits + getattr(config, other) * spoken(other, liked, values)
            order = np.argsort(-logits).tolist()
            rank = order.index(at) + 1 if at >= 0 else 0
            ndcg.append(1 / np.log2(1 + rank) if 0 < rank <= 10 else 0.0)
            gained.append(np.nanmean((liked if term == "satisfaction" else values)[order[:10]]))
        assert (point.x, point.y) == pytest.approx((np.mean(ndcg), np.mean(gained)), abs=1e-5)
    gains = [point.y for point in found.points]
    assert gains == sorted(gains) and gains[0] < gains[-1]


def test_a_log_without_values_has_no_curve_of_value() -> None:
    unvalued = [(a, b, np.full(len(c), np.nan), at) for a, b, c, at in answers(3)]
    found = given(RankerConfig(), unvalued).curves()
    assert [each.term for each in found] == ["satisfaction"]


def test_without_an_answer_there_is_no_curve() -> None:
    assert TradeOffs(RankerConfig()).curves() == []
