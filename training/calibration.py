"""Probabilities to be taken at their word: a line from logits to logits, fitted afterwards."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from training.ranker.model import Ranker

_EPSILON = 1e-6
_RIDGE = 1.0  # towards the logits as they are, where there are few rows


@dataclass(frozen=True)
class Calibration:
    """A calibrated logit is scale * logit + shift; a scale above zero keeps the order."""

    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def fit(cls, scores: NDArray[np.floating], labels: NDArray[np.floating]) -> "Calibration":
        """The line of least log loss on held-out rows (Platt 1999); as they are without rows.

        Parameters
        ----------
        scores, labels : (n,) probabilities that are not calibrated, and 0 or 1
        """
        logits = logit(np.clip(scores.astype(np.float64), _EPSILON, 1 - _EPSILON))

        def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            scale, shift = np.exp(line[0]), line[1]
            given = scale * logits + shift
            apart = expit(given) - labels
            slope = np.array([(apart * logits).sum() * scale, apart.sum()])
            total = np.logaddexp(0, given).sum() - (labels * given).sum()
            return total + _RIDGE * (line**2).sum(), slope + 2 * _RIDGE * line

        found = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B")
        return cls(float(np.exp(found.x[0])), float(found.x[1]))

    def apply(self, ranker: Ranker) -> None:
        """Let an uncalibrated ranker's logits be calibrated."""
        with torch.no_grad():
            ranker.scale.fill_(self.scale)
            ranker.shift.fill_(self.shift)
