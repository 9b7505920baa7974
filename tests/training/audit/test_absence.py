"""Items stamped when they were last changed: no label by absence, and a planted one is found."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import String
from sklearn.metrics import roc_auc_score

from feast_fusion.errors import SchemaError
from feast_fusion.training_set import TrainingSet
from intake.workspace import Workspace, open_workspace
from tests.datasets import START, make_shop
from tests.feast_fusion.retrieval.offline_repo import make_store
from training.audit.leakage import audit_training_set
from training.retrieval import build_training_set
from training.spine import build_spine, describe_left_out
from transformations.names import INTERACTIONS, ITEMS
from transformations.prepared_sources import write_sources

SEEN = "item_profile__category"


class Shop(NamedTuple):
    workspace: Workspace
    build: Callable[[pa.Table], TrainingSet]
    findings: Callable[[TrainingSet], dict[tuple[str, str], int]]


def prepare_shop(folder: Path, stamp: Callable[[int], timedelta]) -> Workspace:
    """Purchases of 60 days, each item described once, by when it was last changed."""
    path = make_shop(folder / "data")
    declared = path.read_text().replace("[items]", '[items]\nvalid_from = "event_timestamp"')
    path.write_text(declared)
    items = pl.read_parquet(path.parent / "items.parquet")
    stamps = pl.Series(
        [START + stamp(i) for i in range(len(items))], dtype=pl.Datetime("us", "UTC")
    )
    items.with_columns(event_timestamp=stamps).write_parquet(path.parent / "items.parquet")
    workspace = open_workspace(path, folder / "home")
    write_sources(workspace)
    return workspace


@pytest.fixture(scope="module")
def shop_by_change(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("changed")
    workspace = prepare_shop(folder, lambda item: timedelta(days=item))
    item = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
    profile = FeatureView(
        name="item_profile",
        entities=[item],
        ttl=timedelta(0),
        schema=[Field(name="category", dtype=String)],
        source=FileSource(
            name="items",
            path=str(workspace.source(ITEMS)),
            timestamp_field="event_timestamp",
        ),
    )
    service = FeatureService(name="ranker", features=[profile])
    store = make_store(folder, [item, profile, service])
    service = store.get_feature_service("ranker")

    def findings(training_set: TrainingSet) -> dict[tuple[str, str], int]:
        found = audit_training_set(training_set, store, service, n_rows=0).findings
        return {(each.kind, each.feature): each.count for each in found}

    return Shop(workspace, lambda spine: build_training_set(store, "ranker", spine), findings)


def auc_of_absence(rows: TrainingSet) -> float:
    absent = rows.table[SEEN].is_null().to_numpy()
    return float(roc_auc_score(rows.table["label"].to_numpy(), absent))


def test_an_absent_profile_does_not_tell_the_label(shop_by_change: Shop) -> None:
    spine = build_spine(shop_by_change.workspace)
    rows = shop_by_change.build(spine)
    assert auc_of_absence(rows) == 0.5
    assert shop_by_change.findings(rows) == {}
    positives = int(spine["label"].to_numpy().sum())
    assert 500 < positives < 1000  # of 1,500, half before the item's version
    (line,) = describe_left_out(shop_by_change.workspace, spine)
    assert line.startswith(f"{1500 - positives:,} of 1,500 events are no examples")


def test_an_absence_that_tells_the_label_is_found(shop_by_change: Shop) -> None:
    """Negatives of items with a version, positives of any, as the rule of two classes had it."""
    workspace = shop_by_change.workspace
    events = pl.read_parquet(workspace.source(INTERACTIONS)).with_columns(
        label=pl.lit(1), weight=pl.lit(1.0)
    )
    honest = pl.DataFrame(build_spine(workspace))
    columns = honest.columns
    planted = pl.concat(
        [events.select(columns).cast(honest.schema), honest.filter(pl.col("label") == 0)]
    )
    rows = shop_by_change.build(planted.to_arrow())
    assert auc_of_absence(rows) > 0.7
    absent = rows.table[SEEN].null_count
    found = shop_by_change.findings(rows)
    of_labels = {key: n for key, n in found.items() if key[0] != "split overlap"}
    assert of_labels == {
        ("absence", "item_profile"): absent,
        ("not yet known", "item_profile"): absent,
    }


def test_a_profile_that_is_there_for_positives_only_is_found(shop_by_change: Shop) -> None:
    """Each value is right where it is; that it is lost elsewhere tells the label."""
    rows = shop_by_change.build(build_spine(shop_by_change.workspace))
    labels = rows.table["label"].to_numpy()
    price = pa.array(np.ones(len(labels)), mask=labels == 0)
    table = rows.table.append_column("price", price)
    found = shop_by_change.findings(TrainingSet(table, rows.vectors, rows.lists))
    assert found == {("suspicious", "price"): int((labels == 0).sum())}


def test_a_table_stamped_with_its_export_is_refused(tmp_path: Path) -> None:
    workspace = prepare_shop(tmp_path, lambda _: timedelta(days=90))
    with pytest.raises(SchemaError, match=r"items.parquet: got no item with a version before"):
        build_spine(workspace)
