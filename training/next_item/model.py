"""The model of what is chosen next, and the same model put to work on the items of a catalogue."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig
from training.next_item.chooser import Chooser
from training.next_item.item_side import ItemSide
from training.next_item.sequence_fit import score_histories
from training.next_item.sequence_model import SequenceModel
from training.next_item.signals import (
    SEQUENCE,
    SIGNALS,
    request_context,
    score_signals,
    standardise,
)
from transformations.collaborative.histories import Flags, Floats, Histories, Ints
from transformations.collaborative.imputation import Imputation
from transformations.collaborative.own_events import OWN_SIGNALS, own_signals
from transformations.collaborative.versions import ItemVersion
from transformations.id_map import IdMap

# What item models say, where an item has no likes, from items like it.
_IMPUTED_AT = [SIGNALS.index(name) for name in ("together", "following", "disliked", "visit")]
# Categories and numbers beside text of length 1, where scores of new items are imputed.
_BESIDE_TEXT = np.float32(0.5)
# What puts an item among the candidates: standardised signals by weight.
_MERGED = {
    "together": 0.5,
    "following": 0.5,
    SEQUENCE: 3.0,
    "text": 0.6,
    "liked_rate": 0.3,
    "own_count": 3.0,
    "own_month": 1.0,
}


def signal_names(repeats: bool) -> tuple[str, ...]:
    """The signals of a model in their order: with repeats also the user's own events."""
    return (*SIGNALS, SEQUENCE, *(OWN_SIGNALS if repeats else ()))


@dataclass(frozen=True)
class NextItemModel:
    """A fitted model.

    Attributes
    ----------
    items : the items that the sequence encoder knows by an embedding of their own
    fitted_until : of the newest event that it was fitted to, microseconds since the epoch
    """

    config: NextItemConfig
    fitted_until: int
    items: IdMap
    side: ItemSide
    sequence: SequenceModel
    chooser: Chooser

    def on(self, items: IdMap, rows: TrainingSet, version: ItemVersion) -> "NextItemScorer":
        """The model on the i items of a catalogue; new ones are known by their side alone.

        Parameters
        ----------
        rows : one row per item with the item's features, in the order of `items`
        version : of the same items
        """
        codes, side = self.items.codes(items.ids), self.side.of(rows)
        sequence = self.sequence.on(codes, torch.from_numpy(side))
        texts = self.side.texts(rows)
        signals = Signals(version, sequence, texts, side, self.config.repeats)
        return NextItemScorer(signals, self.chooser, self.config.history)


@dataclass(frozen=True)
class Signals:
    """What speaks for each of i items: a version of the item models, the sequence encoder, text.

    Attributes
    ----------
    texts : (i, p) projected text vectors of length 1, zeros where an item has none
    side : (i, s) what is known of the items beside what others chose
    repeats : whether the user's own events with an item speak for it
    """

    version: ItemVersion
    sequence: SequenceModel
    texts: Floats
    side: Floats
    repeats: bool

    @cached_property
    def _tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            return self.sequence.events(), self.sequence.answers()

    @cached_property
    def _imputation(self) -> Imputation:
        beside = self.side[:, self.texts.shape[1] :]  # `side` begins with the texts, scaled
        described = np.concatenate([self.texts, _BESIDE_TEXT * beside], axis=1)
        return Imputation.fit(described, np.expm1(self.version.popularity[0]))

    def read(self, histories: Histories, allowed: Flags) -> Floats:
        """(q, f, i) signals in the order of `signal_names`, standardised among the allowed items.

        Parameters
        ----------
        allowed : (q, i) the items that can be chosen
        """
        scores = score_signals(self.version, histories, self.texts)
        scores[:, _IMPUTED_AT] = self._imputation(scores[:, _IMPUTED_AT])
        found = [scores, score_histories(self.sequence, histories, self._tables)[:, None]]
        if self.repeats:
            own = own_signals(histories, scores.shape[2])
            found.append(own.transpose(0, 2, 1))
        return standardise(np.concatenate(found, axis=1), allowed)

    def merge(self, signals: Floats) -> Floats:
        """(q, i) from (q, f, i): how much all signals together speak for an item."""
        names = signal_names(self.repeats)
        weights = np.array([_MERGED.get(name, 0.0) for name in names], np.float32)
        merged: Floats = np.einsum("f,qfi->qi", weights, signals)
        return merged

    def merged_order(self, signals: Floats, allowed: Flags) -> Ints:
        """(q, i) items by the merged signals, best first; those not allowed come last."""
        merged = np.where(allowed, self.merge(signals), -np.inf)
        return np.argsort(-merged, axis=1, kind="stable")


@dataclass(frozen=True)
class NextItemScorer:
    """A model on the items of a catalogue. Never changes; safe for many threads.

    Attributes
    ----------
    history : newest events of a user that are read
    """

    signals: Signals
    chooser: Chooser
    history: int

    @property
    def names(self) -> tuple[str, ...]:
        """Of the signals, in their order."""
        return signal_names(self.signals.repeats)

    def at(self, version: ItemVersion) -> "NextItemScorer":
        """The same with another version of the item models."""
        return replace(self, signals=replace(self.signals, version=version))

    def choose(self, signals: Floats, histories: Histories) -> Floats:
        """(q, m) logits of being chosen, from the (q, f, m) signals of some items."""
        with torch.inference_mode():
            logits: Floats = self.chooser(
                torch.from_numpy(np.ascontiguousarray(signals.transpose(0, 2, 1))),
                torch.from_numpy(request_context(histories)),
            ).numpy()
        return logits
