"""How well a next-item model with given settings does on the validation part."""

import numpy as np
from feast import FeatureStore

from evaluation.measures import gains
from evaluation.protocol import Queries, next_positives
from intake.workspace import Workspace
from training.next_item.fitting import NextItemFitter
from training.next_item.model import NextItemModel, NextItemScorer
from training.threads import on_few_threads
from transformations import names
from transformations.collaborative.histories import Flags, Histories, Ints
from transformations.collaborative.versions import ItemVersion, Versions

_AT_ONCE = 256


@on_few_threads()
def validation_ndcg(
    workspace: Workspace, store: FeatureStore, *, seed: int = 0, limit: int = 1000
) -> float:
    """NDCG@10 of `[candidates]` as the workspace has it: fitted to the training rows.

    Parameters
    ----------
    limit : of the validation queries, drawn by seed 0 so that all trials have the same
    """
    config = workspace.dataset.candidates
    fitter = NextItemFitter(workspace, store, config, seed)
    queries = next_positives(fitter.events, "validation", limit=limit, repeats=config.repeats)
    model = fitter.fit(queries.n_fitted)
    return float(gains(_ranks(workspace, fitter, model, queries))["ndcg@10"].mean())


def _ranks(
    workspace: Workspace, fitter: NextItemFitter, model: NextItemModel, queries: Queries
) -> Ints:
    """(q,) place of the chosen item, from 1; 0 where it is not among the candidates."""
    items = queries.events.items
    rows = fitter.item_rows(queries.n_fitted)
    histories = fitter.histories(queries.rows)
    versions = Versions(workspace.source(names.ITEM_NEIGHBOURS), items, ItemVersion)
    places = versions.places(queries.time)
    ranks = np.zeros(len(queries), np.int64)
    for place in np.unique(places).tolist():
        scorer = model.on(items, rows, versions.read(place))
        of_version = np.flatnonzero(places == place)
        for at in np.array_split(of_version, -(-len(of_version) // _AT_ONCE)):
            part = Queries(queries.events, queries.rows[at], queries.n_fitted, queries.repeats)
            order = _order(scorer, histories.take(at), part.rankable, model.config.depth)
            is_chosen = order == part.target[:, None]
            ranks[at] = np.where(is_chosen.any(axis=1), 1 + is_chosen.argmax(axis=1), 0)
    return ranks


def _order(scorer: NextItemScorer, histories: Histories, allowed: Flags, depth: int) -> Ints:
    """(q, depth) candidates, best first; the last places may hold items that are not allowed."""
    signals = scorer.signals.read(histories, allowed)
    candidates = scorer.signals.merged_order(signals, allowed)[:, :depth]
    logits = scorer.choose(np.take_along_axis(signals, candidates[:, None, :], axis=2), histories)
    logits = np.where(np.take_along_axis(allowed, candidates, axis=1), logits, -np.inf)
    found: Ints = np.take_along_axis(candidates, np.argsort(-logits, axis=1, kind="stable"), axis=1)
    return found
