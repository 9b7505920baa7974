"""Other weights order the same answers anew."""

import numpy as np
import pytest

from evaluation.trade_off import WEIGHTS, TradeOffs


@pytest.mark.parametrize("served", [0.0, 0.5])
def test_weights_move_answers_from_chosen_to_liked(served: float) -> None:
    rng = np.random.default_rng(0)
    found, expected = TradeOffs(served), {weight: [0.0, 0.0] for weight in WEIGHTS}
    n = 20
    for _ in range(n):
        chosen, liked = rng.normal(size=30), rng.uniform(0.01, 0.99, 30)
        odds = np.log(liked / (1 - liked))
        order = np.argsort(-(chosen + served * odds))
        chosen, liked, odds = chosen[order], liked[order], odds[order]
        raised = np.exp(chosen + served * odds)
        at = int(rng.integers(-1, 30))
        found.take((raised / raised.sum()).astype(np.float32), liked.astype(np.float32), at)
        for weight in WEIGHTS:
            anew = np.argsort(-(chosen + weight * odds)).tolist()
            rank = anew.index(at) + 1 if at >= 0 else 0
            expected[weight][0] += 1 / np.log2(1 + rank) / n if 0 < rank <= 10 else 0.0
            expected[weight][1] += liked[anew[:10]].mean() / n
    curve = found.curve()
    assert curve is not None
    assert [point.label for point in curve.points] == [f"{weight:g}" for weight in WEIGHTS]
    for point, (ndcg, value) in zip(curve.points, expected.values(), strict=True):
        assert (point.x, point.y) == pytest.approx((ndcg, value), abs=1e-5)
    values = [point.y for point in curve.points]
    assert values == sorted(values)


def test_without_an_answer_there_is_no_curve() -> None:
    assert TradeOffs(0.0).curve() is None
