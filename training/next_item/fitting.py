"""Fitting the model in the order of time, so that no signal has seen a label that it helps to rank.

Slates of the chooser are drawn as a service would have met them: the history and the version of the
item models are those valid at the choice, and the sequence encoder was fitted on earlier events.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from feast import FeatureStore

from feast_fusion.errors import schema_error
from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig
from intake.workspace import Workspace
from training.next_item.chooser import Slates, draw_slates, fit_chooser
from training.next_item.fit_log import FitLog, StoredLog
from training.next_item.item_side import ItemSide
from training.next_item.model import NextItemModel, Signals
from training.next_item.sequence_fit import SequenceFitter
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import request_context
from training.split import TEST_SHARE
from training.threads import on_few_threads
from transformations.id_map import IdMap

Progress = Callable[[str, int, int], None]

_AT_ONCE = 512


@on_few_threads()
def fit_next_item(
    workspace: Workspace, store: FeatureStore, seed: int, progress: Progress | None = None
) -> tuple[NextItemModel, NextItemModel]:
    """The model without the test part of `split_by_time`, and the model of all events."""
    log = StoredLog(workspace, store)
    fitter, n_events = NextItemFitter(log, workspace.dataset.candidates, seed), len(log.events)
    before = fitter.fit(n_events - int(n_events * TEST_SHARE), progress)
    return before, fitter.fit(n_events, progress)


class NextItemFitter:
    """Fits models of growing parts of a log; a later one goes on from the one before."""

    def __init__(self, log: FitLog, config: NextItemConfig, seed: int) -> None:
        self._log, self._config, self._seed = log, config, seed
        self._rng = np.random.default_rng(seed)
        self._slates: list[Slates] = []
        self._n_rows = 0

    def fit(self, n_rows: int, progress: Progress | None = None) -> NextItemModel:
        """The model of the first `n_rows` events, at least as many as the last one's.

        Raises
        ------
        SchemaError
            No event after the warm-up is positive.
        """
        config, report = self._config, progress or (lambda *_: None)
        sequence = config.sequence
        rows = self._log.item_rows(n_rows)
        if not self._n_rows:
            self._begin(rows, max(1, int(config.warm_up * n_rows)), report)
        n_phases = config.phases if not self._slates else 1
        cuts = np.linspace(self._n_rows, n_rows, n_phases + 1).astype(int).tolist()
        for start, end in pairwise(cuts):
            self._slates += self._draw(start, end, rows)
            self._fitter.fit(end, sequence.more_epochs, lambda a, b: report("sequence", a, b))
        self._n_rows = n_rows
        if not self._slates:
            raise schema_error(
                "events",
                got=f"no positive event among rows {cuts[0]:,} to {n_rows:,}",
                expected="choices to learn from after the first part of the log",
                remedy="Bring more events, or check [interactions] positive.",
            )
        chooser = fit_chooser(Slates.joined(self._slates), config.chooser, self._seed)
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

    def _begin(self, rows: TrainingSet, first: int, report: Progress) -> None:
        config = self._config.sequence
        self._side = ItemSide.fit(rows, self._log.profile)
        torch.manual_seed(self._seed)
        side = torch.from_numpy(self._side.of(rows))
        self._sequence = SequenceModel(config, side)
        self._fitter = SequenceFitter(
            self._sequence, self._log.events, self._seed, repeats=self._config.repeats
        )
        self._fitter.fit(first, config.epochs, lambda a, b: report("sequence", a, b))
        self._n_rows = first

    def _draw(self, start: int, end: int, rows: TrainingSet) -> Iterator[Slates]:
        """Slates of the positive events among the rows from start to end."""
        events, config = self._log.events, self._config.chooser
        liked = np.flatnonzero(events.positive[start:end]) + start
        liked = liked[events.starts_of_instants[liked] >= start]
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
                    taken.transpose(0, 2, 1).astype(np.float16), stands_for, request_context(past)
                )
