"""Fitting the model in the order of time, so that no signal has seen a label that it helps to rank.

Slates of the chooser are drawn as a service would have met them: the history and the version of the
item models are those valid at the choice, and the sequence encoder was fitted on earlier events.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from feast import FeatureStore

from feast_fusion.times import TIMESTAMP
from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig
from intake.workspace import Workspace
from training.next_item.chooser import Slates, draw_slates, fit_chooser
from training.next_item.item_side import ItemSide
from training.next_item.model import NextItemModel, Signals
from training.next_item.sequence_fit import SequenceFitter
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import request_context
from training.ranker.columns import Profile
from training.retrieval import build_rows_of
from training.split import TEST_SHARE
from training.threads import on_few_threads
from transformations import names
from transformations.collaborative.histories import Histories, Ints, read_prepared_events
from transformations.collaborative.versions import ItemVersion, Versions
from transformations.id_map import IdMap

Progress = Callable[[str, int, int], None]

_AT_ONCE = 512


@on_few_threads()
def fit_next_item(
    workspace: Workspace, store: FeatureStore, seed: int, progress: Progress | None = None
) -> tuple[NextItemModel, NextItemModel]:
    """The model without the test part of `split_by_time`, and the model of all events."""
    fitter = NextItemFitter(workspace, store, workspace.dataset.candidates, seed)
    n_events = len(fitter.events)
    before = fitter.fit(n_events - int(n_events * TEST_SHARE), progress)
    return before, fitter.fit(n_events, progress)


class NextItemFitter:
    """Fits models of growing parts of a log; a later one goes on from the one before.

    Parameters
    ----------
    store : gives the users' histories and the items' features, point-in-time
    """

    def __init__(
        self, workspace: Workspace, store: FeatureStore, config: NextItemConfig, seed: int
    ) -> None:
        self._workspace, self._store, self._config, self._seed = workspace, store, config, seed
        self.events = events = read_prepared_events(workspace)
        self._versions = Versions(
            workspace.source(names.ITEM_NEIGHBOURS), events.items, ItemVersion
        )
        self._rng = np.random.default_rng(seed)
        self._slates: list[Slates] = []
        self._n_rows = 0

    def fit(self, n_rows: int, progress: Progress | None = None) -> NextItemModel:
        """The model of the first `n_rows` events, at least as many as the last one's."""
        config, report = self._config, progress or (lambda *_: None)
        sequence = config.sequence
        rows = self.item_rows(n_rows)
        if not self._n_rows:
            self._begin(rows, max(1, int(config.warm_up * n_rows)), report)
        n_phases = config.phases if not self._slates else 1
        cuts = np.linspace(self._n_rows, n_rows, n_phases + 1).astype(int).tolist()
        for start, end in pairwise(cuts):
            self._slates += self._draw(start, end, rows)
            self._fitter.fit(end, sequence.more_epochs, lambda a, b: report("sequence", a, b))
        self._n_rows = n_rows
        chooser = fit_chooser(Slates.joined(self._slates), config.chooser, self._seed)
        known = np.flatnonzero(self._sequence.met.numpy() > 0)
        model = self._sequence.on(known, self._sequence.side[known])
        return NextItemModel(
            config,
            int(self.events.time[n_rows - 1]),
            IdMap(self.events.items.take(known)),
            self._side,
            model,
            chooser,
        )

    def _begin(self, rows: TrainingSet, first: int, report: Progress) -> None:
        config = self._config.sequence
        self._side = ItemSide.fit(rows, Profile.of(self._workspace.dataset))
        torch.manual_seed(self._seed)
        side = torch.from_numpy(self._side.of(rows))
        self._sequence = SequenceModel(config, side)
        self._fitter = SequenceFitter(
            self._sequence, self.events, self._seed, repeats=self._config.repeats
        )
        self._fitter.fit(first, config.epochs, lambda a, b: report("sequence", a, b))
        self._n_rows = first

    def item_rows(self, n_rows: int) -> TrainingSet:
        """The features of all items as of just after the first `n_rows` events."""
        items, at = self.events.items, self.events.time[n_rows - 1] + 1
        times = pa.repeat(pa.scalar(int(at), TIMESTAMP), len(items))
        spine = pa.table({"item_id": items.ids, "event_timestamp": times})
        return build_rows_of(self._store, names.SERVICE, spine)

    def histories(self, rows: Ints) -> Histories:
        """What the online store would have had of the users of these events, just before each."""
        events = self.events
        spine = pa.table(
            {
                "user_id": events.users.take(events.user[rows]),
                "event_timestamp": pa.array(events.time[rows], pa.int64()).cast(TIMESTAMP),
            }
        )
        found = build_rows_of(self._store, names.NEXT_ITEM_SERVICE, spine)
        return Histories.of(found, events.items)

    def _draw(self, start: int, end: int, rows: TrainingSet) -> Iterator[Slates]:
        """Slates of the positive events among the rows from start to end."""
        events, config = self.events, self._config.chooser
        liked = np.flatnonzero(events.positive[start:end]) + start
        liked = liked[events.starts_of_instants[liked] >= start]
        histories = self.histories(liked)
        places = self._versions.places(events.time[liked])
        texts, side = self._side.texts(rows), self._side.of(rows)
        for place in np.unique(places).tolist():
            of_version = np.flatnonzero(places == place)
            source = Signals(
                self._versions.read(place), self._sequence, texts, side, self._config.repeats
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
