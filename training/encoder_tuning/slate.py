"""One step's questions: drawn choices, the items they chose, and who liked which of them when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.encoder_tuning.choices import Choices
from transformations.collaborative.histories import Flags, Floats, Ints


@dataclass(frozen=True)
class Questions:
    """q times the question which of s items was chosen.

    Attributes
    ----------
    answer : (q,) place in the slate
    is_hidden : (q, s) also liked by the user: neither the answer nor wrong
    """

    answer: Ints
    is_hidden: Flags


@dataclass(frozen=True)
class Slate:
    """s versions of items, and what is asked of them.

    Attributes
    ----------
    version : (s,) ascending
    log_share : (s,) how likely a drawn choice is to bring each, as a log
    drawn : (b,) choices whose behaviour text asks, and `by_behaviour` what is right
    weights : (t, s) means of what a user liked before, whose vector asks, and `together` what is
        right
    """

    version: Ints
    log_share: Floats
    drawn: Ints
    by_behaviour: Questions
    weights: NDArray[np.float32]
    together: Questions


def draw_slate(
    choices: Choices, rng: np.random.Generator, *, size: int, behaviours: int, n_together: int
) -> Slate:
    """`size` choices, and the questions that their items allow.

    The items of a slate are drawn by their choices, so a popular one stands in more slates. For
    the drawn choices `log_share` corrects this (Yi 2019, doi 10.1145/3298689.3346996, equation 3).
    Other choices among the same items are from a slate that they did not bring about: the chance
    of a choice given the slate is right without a correction.
    """
    rows = rng.choice(len(choices), min(size, len(choices)), replace=False)
    version = np.unique(choices.version[rows])
    drawn = rows[:behaviours]
    answer = np.searchsorted(version, choices.version[drawn])
    weights, rows_together = _liked_before(choices, version, rng, n_together)
    return Slate(
        version,
        choices.log_share[version],
        drawn,
        _questions(choices, version, drawn, answer),
        weights,
        _questions(
            choices,
            version,
            rows_together,
            np.searchsorted(version, choices.version[rows_together]),
        ),
    )


def _questions(choices: Choices, version: Ints, rows: Ints, answer: Ints) -> Questions:
    is_hidden = choices.liked(choices.user[rows], version)
    own = (
        choices.versions.item[version][None, :]
        == choices.versions.item[choices.version[rows]][:, None]
    )
    is_hidden = is_hidden | own
    is_hidden[np.arange(len(rows)), answer] = False
    return Questions(answer, is_hidden)


def _liked_before(
    choices: Choices, version: Ints, rng: np.random.Generator, limit: int
) -> tuple[NDArray[np.float32], Ints]:
    """Choices among the versions by users with an earlier one, and the means of the earlier ones.

    A user who liked the versions a, b, c at three instants gives (a -> b) and ((a + b) / 2 -> c).
    """
    rows = choices.of_versions(version)
    user, time = choices.user[rows], choices.time[rows]
    starts = np.searchsorted(user, user)  # first of the user
    same = np.flatnonzero(np.append(True, (np.diff(user) != 0) | (np.diff(time) != 0)))
    instant = same[np.searchsorted(same, np.arange(len(rows)), side="right") - 1]
    asked = np.flatnonzero(instant > starts)
    if len(asked) > limit:
        asked = np.sort(rng.choice(asked, limit, replace=False))
    place = np.searchsorted(version, choices.version[rows])
    weights = np.zeros((len(asked), len(version)), np.float32)
    for at, row in enumerate(asked):
        np.add.at(weights[at], place[starts[row] : instant[row]], 1.0)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    return weights, rows[asked]
