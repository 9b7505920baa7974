"""How well a next-item model with given settings does on the validation part."""

from feast import FeatureStore

from evaluation.measures import gains
from evaluation.model_ranks import ModelRanks
from evaluation.protocol import next_positives
from intake.workspace import Workspace
from training.next_item.fit_log import StoredLog
from training.next_item.fitting import NextItemFitter
from training.threads import on_few_threads


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
    log = StoredLog(workspace, store)
    queries = next_positives(
        log.events,
        "validation",
        limit=limit,
        repeats=config.repeats,
        how=workspace.dataset.split,
    )
    fitted = StoredLog(workspace, store, queries.fitted_rows)
    model = NextItemFitter(fitted, config, seed).fit(queries.n_fitted)
    rows, history = fitted.item_rows(queries.n_fitted), workspace.dataset.activity.history
    ranked = ModelRanks(log, rows, history, model)(queries)
    return float(gains(ranked.rank)["ndcg@10"].mean())
