"""Fitting the model in the order of time, so that no signal has seen a label that it helps to rank.

Slates of the chooser are drawn as a service would have met them: the history and the version of the
item models are those valid at the choice, and the sequence encoder was fitted on earlier events.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from feast import FeatureStore

from feast_fusion.errors import schema_error
from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig
from intake.workspace import Workspace
from training.checkpoint import Checkpoints
from training.next_item.chooser import Chooser, Slates, draw_slates, fit_chooser
from training.next_item.fit_log import FitLog, StoredLog
from training.next_item.item_side import ItemSide
from training.next_item.model import NextItemModel, Signals
from training.next_item.sequence_fit import SequenceFitter
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import request_context
from training.split import split_events
from training.threads import on_few_threads
from transformations.id_map import IdMap
from transformations.names import SERVICE

_AT_ONCE = 512


@dataclass(frozen=True)
class Epoch:
    """The mean loss of an epoch of a part of the model, "sequence" or "chooser".

    number : among all epochs of the part, from 1
    """

    part: str
    number: int
    loss: float


Report = Callable[[Epoch], None]


def count_epochs(config: NextItemConfig) -> int:
    """How many epochs `fit_next_item` reports."""
    sequence, n_later = config.sequence, config.phases + 1
    return sequence.epochs + n_later * sequence.more_epochs + 2 * config.chooser.epochs


@on_few_threads()
def fit_next_item(
    workspace: Workspace,
    store: FeatureStore,
    seed: int,
    *,
    service: str = SERVICE,
    checkpoints: Checkpoints | None = None,
    report: Report | None = None,
) -> tuple[NextItemModel, NextItemModel]:
    """The model without the test part of `[split]`, and the model of all events.

    Where the test part is the newest, the second goes on from the first.

    Parameters
    ----------
    service : names the features of items
    checkpoints : where the fit is kept, and gone on from; the caller removes them
    report : called after each epoch
    """
    dataset, log = workspace.dataset, StoredLog(workspace, store, service=service)
    past, n_events = np.sort(split_events(log.events, dataset.split).past), len(log.events)
    if dataset.split.by == "time":
        fitter = NextItemFitter(log, dataset.candidates, seed, checkpoints, report)
        return fitter.fit(len(past)), fitter.fit(n_events)
    without = StoredLog(workspace, store, past, service)
    before, whole = (
        NextItemFitter(
            each, dataset.candidates, seed, checkpoints and checkpoints.below(name), report
        ).fit(len(each.events))
        for each, name in ((without, "before_test"), (log, "whole"))
    )
    return before, whole


class NextItemFitter:
    """Fits models of growing parts of a log; a later one goes on from the one before."""

    def __init__(
        self,
        log: FitLog,
        config: NextItemConfig,
        seed: int,
        checkpoints: Checkpoints | None = None,
        report: Report | None = None,
    ) -> None:
        self._log, self._config, self._seed = log, config, seed
        self._checkpoints, self._tell = checkpoints, report
        self._rng = np.random.default_rng(seed)
        self._slates: list[Slates] = []
        self._n_rows = self._n_models = 0

    def fit(self, n_rows: int) -> NextItemModel:
        """The model of the first `n_rows` events, at least as many as the last one's.

        Raises
        ------
        SchemaError
            No event after the warm-up is positive.
        """
        config = self._config
        rows = self._log.item_rows(n_rows)
        if not self._n_rows:
            self._begin(rows, max(1, int(config.warm_up * n_rows)))
        n_phases = config.phases if not self._slates else 1
        cuts = np.linspace(self._n_rows, n_rows, n_phases + 1).astype(int).tolist()
        for start, end in pairwise(cuts):
            self._slates += self._kept_or_drawn(start, end, rows)
            self._fitter.fit(end, config.sequence.more_epochs, partial(self._report, "sequence"))
        self._n_rows = n_rows
        if not self._slates:
            raise schema_error(
                "events",
                got=f"no positive event among rows {cuts[0]:,} to {n_rows:,}"
                + ("" if config.repeats else " with an item that was new to its user"),
                expected="choices to learn from after the first part of the log",
                remedy="Bring more events, or check [interactions] positive, or say "
                "repeats = true in [candidates] if users choose the same items again.",
            )
        chooser = self._fit_chooser()
        known = np.flatnonzero(self._sequence.met.numpy() > 0)
        model = self._sequence.on(known, self._sequence.side[known])
        return NextItemModel(
            config,
            int(self._log.events.time[n_rows - 1]),
            IdMap(self._log.events.items.take(known)),
            self._side,
            model,
            chooser,
        )

    def _fit_chooser(self) -> Chooser:
        config, slates = self._config.chooser, Slates.joined(self._slates)
        done = self._n_models * config.epochs
        self._n_models += 1
        return fit_chooser(
            slates, config, self._seed, lambda n, loss: self._report("chooser", done + n, loss)
        )

    def _report(self, part: str, number: int, loss: float) -> None:
        if self._tell is not None:
            self._tell(Epoch(part, number, loss))

    def _begin(self, rows: TrainingSet, first: int) -> None:
        config = self._config.sequence
        self._side = ItemSide.fit(rows, self._log.profile)
        torch.manual_seed(self._seed)
        side = torch.from_numpy(self._side.of(rows))
        self._sequence = SequenceModel(config, side)
        self._fitter = SequenceFitter(
            self._sequence,
            self._log.events,
            self._seed,
            repeats=self._config.repeats,
            checkpoints=self._checkpoints,
        )
        self._fitter.fit(first, config.epochs, partial(self._report, "sequence"))
        self._n_rows = first

    def _kept_or_drawn(self, start: int, end: int, rows: TrainingSet) -> list[Slates]:
        """The slates of a phase: those that a fit that was killed had drawn, or drawn now."""
        if self._checkpoints is None or start == end:
            return list(self._draw(start, end, rows))
        checkpoint = self._checkpoints.of(f"slates.{start}-{end}")
        kept = checkpoint.load()
        if kept is not None:
            tensors, state = kept
            self._rng.bit_generator.state = state
            return [Slates.load(tensors)]
        drawn = list(self._draw(start, end, rows))
        if drawn:
            checkpoint.save(Slates.joined(drawn).tensors(), self._rng.bit_generator.state)
        return drawn

    def _draw(self, start: int, end: int, rows: TrainingSet) -> Iterator[Slates]:
        """Slates of the positive events among the rows from start to end."""
        events, config = self._log.events, self._config.chooser
        liked = np.flatnonzero(events.positive[start:end]) + start
        liked = liked[events.starts_of_instants[liked] >= start]
        if not self._config.repeats:  # what is never offered again says nothing of an offer
            liked = liked[events.is_new(liked)]
        histories = self._log.histories(liked).newest(self._config.history)
        places = self._log.places(events.time[liked])
        texts, side = self._side.texts(rows), self._side.of(rows)
        for place in np.unique(places).tolist():
            of_version = np.flatnonzero(places == place)
            source = Signals(
                self._log.version(place), self._sequence, texts, side, self._config.repeats
            )
            for at in np.array_split(of_version, -(-len(of_version) // _AT_ONCE)):
                past, chosen = histories.take(at), events.item[liked[at]]
                allowed = events.rankable(
                    events.user[liked[at]], events.time[liked[at]], repeats=self._config.repeats
                )
                allowed[np.arange(len(at)), chosen] = True
                signals = source.read(past, allowed)
                order = source.merged_order(signals, allowed)
                items, stands_for = draw_slates(order, chosen, allowed, config, self._rng)
                taken = np.take_along_axis(signals, items[:, None, :], axis=2)
                yield Slates(
                    taken.transpose(0, 2, 1).astype(np.float16),
                    stands_for,
                    request_context(past),
                    events.weight[liked[at]],
                )
