"""Every step from files to recommendations, in their order."""

import statistics
import time
from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from cli.damage import set_damage_aside
from cli.data import retrieve_training_set
from cli.feast_repository import feast, feast_time, open_store
from cli.materializing import materialize
from cli.preparing import prepare_sources
from cli.ranker import promote_trained, trained_version
from cli.recommend import answer_lines, recommend_to
from cli.redis import redis_of, require_redis
from cli.run_summary import RunSummary, peak_rss_mb, rounded
from cli.step import announce
from cli.terminal import say
from cli.write import write_all
from evaluation.pointwise import evaluate_ranker, pointwise_lines
from evaluation.run_report.run_page import RunFindings, render_run
from feast_fusion.column_names import vector_view
from feast_fusion.feature_service import open_service
from feast_fusion.files import replaced_file
from feast_fusion.parquet.opening import open_path
from feast_fusion.parquet.whole import read_parquet
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace
from training.audit.leakage import LeakageReport, audit_training_set
from training.model_versions import ModelVersions
from training.ranker.artifact import Artifact
from training.retrieval import build_training_set
from training.spine import SPINE_COLUMNS, require_events
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.names import (
    INTERACTIONS,
    ITEM_EMBEDDING,
    ITEMS,
    NEXT_ITEM_SERVICE,
    SERVICE,
    USER_EMBEDDING,
    USERS,
)

_LATENCY_USERS = 50
_AUDITED_ROWS = 300


def run_all(workspace: Workspace) -> RunSummary:
    """Every step in order; the summary, which is written as the report is."""
    started = time.perf_counter()
    require_redis()
    announce("1/7 Prepare")
    sources = prepare_sources(workspace)
    say(*set_damage_aside(workspace))
    require_events(workspace)  # before anything is encoded
    write_all(workspace)
    cached = _vectors_cached(workspace)
    with redis_of(workspace) as redis:
        announce("2/7 feast apply")
        # The engine makes the sinks only now; their absence is no news.
        feast(workspace, redis, "apply", "--skip-source-validation")
        announce("3/7 feast materialize")
        materialize(workspace, redis, *_window(workspace))
        calls = _vectors_cached(workspace) - cached
        announce("4/7 Training set")
        training_set, audits = _audited_training_set(workspace)
        announce("5/7 Train")
        before_test = _train(workspace, training_set)
        announce("6/7 Evaluate")
        dataset = workspace.dataset
        evaluation = evaluate_ranker(
            training_set, before_test, dataset.split, explicit=dataset.interactions.explicit
        )
        say(*pointwise_lines(evaluation))
        announce("7/7 Recommend")
        answers = recommend_to(workspace, _last_users(training_set.table), 10)
        say(*answer_lines(answers[-1]))
    summary = RunSummary(
        seconds=round(time.perf_counter() - started, 1),
        encoder_calls=calls,
        item_vectors=_n_rows(workspace, ITEM_EMBEDDING),
        user_vectors=_n_rows(workspace, USER_EMBEDDING),
        training_rows=len(training_set),
        test_auc=rounded(evaluation.metrics["ranker"]["auc"]),
        popularity_auc=rounded(evaluation.metrics["popularity"]["auc"]),
        online_p50_ms=round(statistics.median(a.latency_ms for a in answers), 1),
        peak_rss_mb=peak_rss_mb(),
    )
    summary.write(workspace.summary)
    found = RunFindings(sources, audits, evaluation, answers, summary.lines())
    with replaced_file(workspace.report) as building:
        building.write_text(render_run(workspace, found), encoding="utf-8")
    announce("Summary")
    say(*summary.lines())
    return summary


def _audited_training_set(workspace: Workspace) -> tuple[TrainingSet, list[LeakageReport]]:
    training_set = retrieve_training_set(workspace)
    training_set.save(workspace.training_set)
    say(f"{len(training_set):,} rows.")
    store = open_store(workspace)
    service, how = open_service(store, SERVICE), workspace.dataset.split
    audits = [audit_training_set(training_set, store, service, how=how)]
    say(*audits[0].lines())
    some = np.linspace(0, len(training_set) - 1, _AUDITED_ROWS).astype(np.int64)
    spine = training_set.table.select(SPINE_COLUMNS).take(pa.array(np.unique(some)))
    read = build_training_set(store, NEXT_ITEM_SERVICE, spine)
    audits.append(audit_training_set(read, store, open_service(store, NEXT_ITEM_SERVICE)))
    say(*audits[1].lines())
    return training_set, audits


def _train(workspace: Workspace, training_set: TrainingSet) -> Artifact:
    """The artifact before the test part of the version that answers from now on."""
    version = trained_version(workspace, training_set)
    promote_trained(workspace, version, always=True)
    return ModelVersions(workspace).load_before_test(version)


def _window(workspace: Workspace) -> tuple[str, str]:
    """From before the first row of any source until now, as Feast's command takes it."""
    first = min(
        pc.min(read_parquet(workspace.source(name), ["event_timestamp"])[0]).as_py()
        for name in (ITEMS, USERS, INTERACTIONS)
        if workspace.source(name).is_file()
    )
    return feast_time(first - timedelta(days=1)), feast_time()


def _vectors_cached(workspace: Workspace) -> int:
    """How many texts this workspace's encoder has ever encoded: the growth is encoder calls."""
    return len(Embedder(workspace, _encoder_id(workspace)).cached.cache)


def _encoder_id(workspace: Workspace) -> str:
    return identify(workspace.dataset).encoder_id


def _n_rows(workspace: Workspace, view: str) -> int:
    sink = workspace.sink(vector_view(view, _encoder_id(workspace)))
    return open_path(sink, sink).n_rows


def _last_users(table: pa.Table) -> list[str]:
    """Users of the newest examples, the newest last."""
    users = pl.DataFrame(table.select(["event_timestamp", "user_id"])).sort("event_timestamp")
    return users["user_id"].unique(maintain_order=True).tail(_LATENCY_USERS).to_list()
