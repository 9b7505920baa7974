"""The moving interest: one step equals the formula, and replay equals repeated steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transformations.interest import Vector, replay, step

D = 5


def unit(seed: int) -> Vector:
    vector = np.random.default_rng(seed).normal(size=D)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def test_a_step_is_the_normalised_moving_average() -> None:
    old, item = unit(1).astype(np.float64), unit(2).astype(np.float64)
    expected = 0.9 * old + 0.1 * item
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(step(unit(1), unit(2), 1.0, 0.9), expected, atol=1e-6)


def test_the_first_event_is_the_item_and_a_disliked_one_its_opposite() -> None:
    np.testing.assert_allclose(step(None, unit(3), 1.0, 0.9), unit(3), atol=1e-6)
    np.testing.assert_allclose(step(None, unit(3), -0.5, 0.9), -unit(3), atol=1e-6)


def test_events_that_cancel_keep_the_old_state() -> None:
    np.testing.assert_array_equal(step(unit(4), -unit(4), 1.0, 0.5), unit(4))


@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_a_liked_item_comes_nearer_and_a_disliked_one_goes_away(weight: float) -> None:
    before = float(unit(5) @ unit(6))
    after = float(step(unit(5), unit(6), weight, 0.9) @ unit(6))
    assert (after > before) is (weight > 0)


@given(
    seeds=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    present=st.lists(st.booleans(), min_size=12, max_size=12),
    cuts=st.sets(st.integers(1, 12)),
    decays=st.lists(st.floats(0.0, 0.99), min_size=12, max_size=12),
)
def test_replay_equals_one_push_after_another(
    seeds: list[int], present: list[bool], cuts: set[int], decays: list[float]
) -> None:
    n = len(seeds)
    instants = sorted({cut for cut in cuts if cut < n} | {n})
    items = np.stack([unit(seed) for seed in seeds])
    has_item = np.array(present[:n])
    weights = np.where(np.arange(n) % 3 == 0, -0.5, 1.0)
    pushed: list[Vector | None] = []
    state: Vector | None = None
    for event in range(n):
        if has_item[event]:
            state = step(state, items[event], float(weights[event]), decays[event])
        pushed.append(state)
    for end, replayed in zip(
        instants, replay(items, has_item, weights, instants, np.array(decays[:n])), strict=True
    ):
        expected = pushed[end - 1]
        if expected is None:
            assert replayed is None
        else:
            np.testing.assert_array_equal(replayed, expected)
            assert abs(float(np.linalg.norm(expected)) - 1.0) < 1e-5
