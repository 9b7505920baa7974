"""The model of what is chosen next: fitted in the order of time, so nothing sees its future.

Slates of the chooser are drawn as a service would have met them: the signals of a choice come from
versions fitted strictly before it, and so do the logits of the sequence encoder.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from intake.model_settings import NextItemConfig
from training.next_item.chooser import (
    Chooser,
    Slates,
    draw_slates,
    fit_chooser,
)
from training.next_item.sequence_fit import SequenceFitter, score_histories
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import (
    SEQUENCE,
    SIGNALS,
    SignalFitter,
    SignalVersion,
    request_context,
    standardise,
)
from transformations.collaborative.histories import Events, Flags, Floats, Histories, Ints

_AT_ONCE = 512
# What puts an item among the candidates: standardised signals by weight.
_MERGED = {"together": 1.0, "next": 1.0, SEQUENCE: 2.0}
_WEIGHTS = np.array([_MERGED.get(name, 0.0) for name in (*SIGNALS, SEQUENCE)], np.float32)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NextItemModel:
    """What orders items: the newest version of the signals, the sequence encoder, the chooser."""

    config: NextItemConfig
    version: SignalVersion
    sequence: SequenceModel
    chooser: Chooser
    vectors: Floats

    def signals(self, histories: Histories, allowed: Flags) -> Floats:
        """(q, i, f) standardised signals among the allowed items."""
        return _signals(self.version, self.sequence, histories, self.vectors, allowed)

    def order(self, signals: Floats, histories: Histories, allowed: Flags) -> Ints:
        """(q, depth) items best first: the candidates that the merged signals name, by the chooser.

        Where fewer than `depth` items are allowed, the last places hold items that are not.
        """
        candidates = merged_order(signals, allowed)[:, : self.config.depth]
        rows = np.arange(len(candidates))[:, None]
        with torch.inference_mode():
            logits = self.chooser(
                torch.from_numpy(signals[rows, candidates]),
                torch.from_numpy(request_context(histories)),
            ).numpy()
        logits = np.where(allowed[rows, candidates], logits, -np.inf)
        return np.take_along_axis(candidates, np.argsort(-logits, axis=1, kind="stable"), axis=1)


def merged_order(signals: Floats, allowed: Flags) -> Ints:
    """(q, i) items by the merged signals, best first; those not allowed come last."""
    merged = np.where(allowed, signals @ _WEIGHTS, -np.inf)
    return np.argsort(-merged, axis=1, kind="stable")


class NextItemFitter:
    """Fits models of growing parts of a log; a later one goes on from the one before.

    Parameters
    ----------
    history : newest events of a user that are read
    """

    def __init__(
        self,
        events: Events,
        vectors: Floats,
        side: Floats,
        config: NextItemConfig,
        *,
        history: int,
        seed: int,
    ) -> None:
        self._events, self._vectors, self._config = events, vectors, config
        self._history = history
        torch.manual_seed(seed)
        self._sequence = SequenceModel(config.sequence, torch.from_numpy(side))
        self._fitter = SequenceFitter(self._sequence, events, seed, repeats=config.repeats)
        self._signals = SignalFitter(events, history)
        self._versions: list[SignalVersion] = []
        self._slates: list[Slates] = []
        self._rng = np.random.default_rng(seed)
        self._seed = seed
        self._n_rows = 0

    def fit(self, n_rows: int, progress: Progress | None = None) -> NextItemModel:
        """The model of the first `n_rows` events."""
        config = self._config
        report = progress or (lambda what, done, total: None)
        first = self._n_rows or int(config.warm_up * n_rows)
        n_phases = config.phases if not self._n_rows else 1
        cuts = np.linspace(first, n_rows, n_phases + 1).astype(int).tolist()
        if not self._n_rows:
            self._fitter.fit(first, config.sequence.epochs, lambda a, b: report("first", a, b))
        for start, end in pairwise(cuts):
            self._slates += self._draw(start, end)
            self._fitter.fit(end, config.sequence.more_epochs, lambda a, b: report("more", a, b))
        self._n_rows = n_rows
        chooser = fit_chooser(Slates.joined(self._slates), config.chooser, self._seed)
        return NextItemModel(
            config, self.version_at(n_rows), self._sequence, chooser, self._vectors
        )

    def version_at(self, n_rows: int) -> SignalVersion:
        """The version of the signals of the first `n_rows` events."""
        if not self._versions or self._versions[-1].n_rows < n_rows:
            self._versions.append(self._signals.fit(n_rows))
        return self._versions[-1]

    def batches(self, rows: Ints) -> Iterator[tuple[SignalVersion, Ints]]:
        """Ascending rows of the log, with the version of the signals that each part reads."""
        before = self._events.starts_of_instants[rows]
        every = self._config.refit_every
        for number in np.unique(before // every).tolist():
            part = rows[before // every == number]
            version = self.version_at(max(number * every, 1))
            for start in range(0, len(part), _AT_ONCE):
                yield version, part[start : start + _AT_ONCE]

    def _draw(self, start: int, end: int) -> Iterator[Slates]:
        events = self._events
        liked = np.flatnonzero(events.positive[start:end]) + start
        liked = liked[events.starts_of_instants[liked] >= start]
        for version, rows in self.batches(liked):
            user, now, chosen = events.user[rows], events.time[rows], events.item[rows]
            histories = events.histories(user, now, self._history)
            allowed = events.rankable(user, now, repeats=self._config.repeats)
            signals = _signals(version, self._sequence, histories, self._vectors, allowed)
            order = merged_order(signals, allowed)
            items, stands_for = draw_slates(order, chosen, allowed, self._config.chooser, self._rng)
            at = np.arange(len(rows))[:, None]
            yield Slates(
                signals[at, items].astype(np.float16), stands_for, request_context(histories)
            )


def _signals(
    version: SignalVersion,
    sequence: SequenceModel,
    histories: Histories,
    vectors: Floats,
    allowed: Flags,
) -> Floats:
    scores = version.score(histories, vectors)
    logits: NDArray[np.float32] = score_histories(sequence, histories)
    return standardise(np.concatenate([scores, logits[:, :, None]], axis=2), allowed)
