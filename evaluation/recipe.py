"""How our model is made, so that it can be made again, of fewer events or with a thing changed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from evaluation.memory_log import MemoryLog
from evaluation.model_ranks import ModelRanks
from feast_fusion.training_set import TrainingSet
from intake.model_settings import NextItemConfig
from training.next_item.fit_log import FitLog
from training.next_item.fitting import NextItemFitter
from training.ranker.columns import Profile
from transformations.collaborative.histories import Events


@dataclass(frozen=True)
class Recipe:
    """All that a fit depends on beside the events and the seed.

    Attributes
    ----------
    rows : the features of all items, by code
    history : newest events of a user that count
    """

    rows: TrainingSet
    profile: Profile
    config: NextItemConfig
    history: int

    @classmethod
    def of(cls, log: FitLog, n_rows: int, config: NextItemConfig, history: int) -> "Recipe":
        """With the features of the items as of just after the first `n_rows` events."""
        return cls(log.item_rows(n_rows), log.profile, config, history)

    def fit(self, events: Events, n_rows: int, seed: int) -> ModelRanks:
        """The model of the first `n_rows` of some events, ready to rank."""
        every = self.config.refit_every
        log = MemoryLog(events, self.rows, self.profile, self.history, every)
        model = NextItemFitter(log, self.config, seed).fit(n_rows)
        return ModelRanks(log, self.rows, self.history, model)


Change = Callable[[Recipe], Recipe]


def without_text(recipe: Recipe) -> Recipe:
    """Items have no vectors: neither as a signal nor in the sequence encoder."""
    return replace(recipe, rows=replace(recipe.rows, vectors={}))


def newest_events(n: int) -> Change:
    """Histories of at most `n` events."""
    return lambda recipe: replace(_with_sequence(recipe, length=n), history=n)


def sequence_settings(**settings: Any) -> Change:
    """The sequence encoder with other settings."""
    return lambda recipe: _with_sequence(recipe, **settings)


def settings(**changed: Any) -> Change:
    """Other settings of `[candidates]`."""
    return lambda recipe: replace(recipe, config=recipe.config.model_copy(update=changed))


def _with_sequence(recipe: Recipe, **changed: Any) -> Recipe:
    sequence = recipe.config.sequence.model_copy(update=changed)
    return replace(recipe, config=recipe.config.model_copy(update={"sequence": sequence}))
