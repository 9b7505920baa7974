"""A line from logits to logits makes probabilities of scores, and keeps their order."""

import numpy as np
from scipy.special import expit, logit

from training.calibration import Calibration
from training.metrics import ece, log_loss


def overconfident(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose logits are twice as far from -0.3 as they should be, and labels."""
    rng = np.random.default_rng(0)
    true = rng.normal(0.5, 1.0, n)
    return expit(2 * (true + 0.3) - 0.3), (rng.random(n) < expit(true)).astype(float)


def test_the_line_behind_the_labels_is_found() -> None:
    scores, labels = overconfident(20_000)
    line = Calibration.fit(scores, labels)
    np.testing.assert_allclose([line.scale, line.shift], [0.5, -0.15], atol=0.03)
    calibrated = expit(line.scale * logit(scores) + line.shift)
    assert ece(labels, calibrated) < 0.012 < ece(labels, scores)
    assert log_loss(labels, calibrated) < log_loss(labels, scores) - 0.02


def test_no_line_is_better_than_the_one_that_is_found() -> None:
    scores, labels = overconfident(2_000)
    line = Calibration.fit(scores, labels)

    def loss(scale: float, shift: float) -> float:
        held = np.log(scale) ** 2 + shift**2
        return len(labels) * log_loss(labels, expit(scale * logit(scores) + shift)) + held

    best = loss(line.scale, line.shift)
    for scale, shift in ((1.02, 0.0), (0.98, 0.0), (1.0, 0.02), (1.0, -0.02)):
        assert loss(line.scale * scale, line.shift + shift) > best


def test_few_rows_move_little_and_none_nothing() -> None:
    none = Calibration.fit(np.zeros(0, np.float32), np.zeros(0, np.float32))
    assert (none.scale, none.shift) == (1.0, 0.0)
    one = Calibration.fit(np.array([0.9]), np.array([0.0]))
    assert 0.3 < one.scale < 1.0 and -1.0 < one.shift < 0.0
    certain = Calibration.fit(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert np.isfinite([certain.scale, certain.shift]).all() and certain.scale > 0
