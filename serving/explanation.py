"""Why an item has its place: for a shopper, or with what each signal adds, and facts.

The contribution of a signal is an ablation: the logit of being chosen minus the logit where the
chooser sees the signal as average. It is exact for the chooser as it is; contributions do not add
up to the logit, since signals speak about each other.
"""

from collections.abc import Mapping

import numpy as np

from feast_fusion.column_names import feature_column
from feast_fusion.training_set import TrainingSet
from serving.answers import Reason
from serving.candidates import Candidates
from serving.catalogue import Catalogue
from serving.shopper_reasons import SHOWN, WORDS_OF, Verb, liked_items, shopper_reasons, verb_of
from serving.vector_index import Rows, Vectors
from transformations import names

_PAST = {"liked": "liked", "chose": "chosen"}


def explain_items(
    catalogue: Catalogue, rows: TrainingSet, candidates: Candidates, at: Rows, *, debug: bool
) -> list[tuple[Reason, ...]]:
    """The reasons for some candidates of one user.

    Parameters
    ----------
    rows : the features of these candidates
    at : (k,) their places among the candidates
    debug : all sources too, the strongest signals first, and facts
    """
    shopper = shopper_reasons(catalogue, liked_items(rows), candidates, at)
    if not debug:
        return [tuple(each[:SHOWN]) for each in shopper]
    facts, added = _facts(catalogue, rows), _contributions(catalogue, candidates, at)
    words, explained = WORDS_OF[verb_of(catalogue)], []
    for number, each in enumerate(shopper):
        by_strength = sorted(added.items(), key=lambda signal: -abs(float(signal[1][number])))
        moves = [
            Reason("signal", _moves(words[name], of[number]), float(of[number]))
            for name, of in by_strength
        ]
        explained.append((*each, *moves, *facts[number]))
    return explained


def _contributions(catalogue: Catalogue, candidates: Candidates, at: Rows) -> Mapping[str, Vectors]:
    """By signal that says something (k,) what it adds to the logit of each candidate."""
    if candidates.recent is None:
        return {}
    n_signals = len(candidates.signals)
    signals = np.repeat(candidates.signals[None, :, at], n_signals + 1, axis=0)
    signals[np.arange(n_signals), np.arange(n_signals)] = 0.0  # the last one is whole
    history = candidates.recent.take(np.zeros(n_signals + 1, dtype=np.int64))
    logits = catalogue.scorer.choose(signals, history)
    added = zip(catalogue.scorer.names, logits[-1] - logits[:-1], candidates.speaking, strict=True)
    return {name: each for name, each, is_speaking in added if is_speaking}


def _moves(what: str, value: np.floating) -> str:
    return f"{'raised' if value >= 0 else 'lowered'}: {what}"


def _facts(catalogue: Catalogue, rows: TrainingSet) -> list[tuple[Reason, ...]]:
    """How often others acted on each item, and how often they liked or chose it."""
    verb = verb_of(catalogue)
    counts = [
        feature_column(names.ITEM_STATS, name) for name in ("item_n_events", "item_n_positive")
    ]
    if any(name not in rows.table.column_names for name in counts):
        return [()] * len(rows)
    columns = (rows.table[name].to_pylist() for name in counts)
    return [_fact(verb, *counts) for counts in zip(*columns, strict=True)]


def _fact(verb: Verb, n_events: int | None, n_positive: int | None) -> tuple[Reason, ...]:
    if not n_events:
        return (Reason("fact", "nobody has acted on it yet", 0.0),)
    if n_positive is None or n_positive == n_events:
        return (Reason("fact", f"chosen {n_events:,} times", float(n_events)),)
    share = n_positive / n_events
    return (Reason("fact", f"{_PAST[verb]} in {share:.0%} of {n_events:,} events", share),)
