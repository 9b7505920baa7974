"""The batch transformations: what is declared is what is encoded, and nothing is made up."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import EncoderMismatchError, SchemaError
from intake.dataset_file import load_dataset
from intake.workspace import Workspace, open_workspace
from tests.datasets import START, make_films
from transformations.declared_encoders import identify
from transformations.embedding import embed_behaviour, embed_items, track_interest
from transformations.prepared_sources import write_sources


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("films")
    description = make_films(folder, n_users=6, n_items=12, n_events=60)
    items = folder / "items.parquet"
    table = pl.read_parquet(items)
    nameless = table["item_id"] == "f0"
    blank = {
        name: pl.when(nameless).then(None).otherwise(pl.col(name)).alias(name)
        for name in ["title", "year", "genres"]
    }
    table.with_columns(**blank).write_parquet(items)
    workspace = open_workspace(description, folder / "home")
    write_sources(workspace)
    return workspace


def declared(workspace: Workspace) -> dict[str, str]:
    return {
        "dataset": str(workspace.dataset.path),
        "home": str(workspace.home),
        "encoder_id": identify(workspace.dataset).encoder_id,
    }


def source(workspace: Workspace, name: str) -> pd.DataFrame:
    frame: pd.DataFrame = pq.read_table(workspace.sources / f"{name}.parquet").to_pandas()
    return frame


def test_an_item_without_text_has_no_vector(prepared: Workspace) -> None:
    done = embed_items(source(prepared, "items"), **declared(prepared))
    vectors = done.set_index("item_id")["item_embedding"]
    assert vectors["f0"] is None
    others = np.stack(vectors.drop("f0").to_list())
    assert others.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(others, axis=1), 1.0, atol=1e-5)


def test_behaviour_of_somebody_who_rated_nothing_is_missing(prepared: Workspace) -> None:
    frame = pd.DataFrame(
        {
            "user_id": ["a", "b"],
            "event_timestamp": [START, START],
            "liked": [["Alien"], []],
            "disliked": [[], []],
        }
    )
    vectors = embed_behaviour(frame, **declared(prepared))["user_embedding"]
    assert vectors[0].shape == (384,)
    assert vectors[1] is None


def test_interest_does_not_depend_on_how_rows_are_batched(prepared: Workspace) -> None:
    frame = source(prepared, "user_events")
    whole = track_interest(frame, **declared(prepared))
    shuffled = frame.sample(frac=1.0, random_state=3)
    parts = [
        track_interest(shuffled.iloc[i : i + 7], **declared(prepared))
        for i in range(0, len(frame), 7)
    ]
    together = pd.concat(parts).sort_index()
    for left, right in zip(whole["user_interest"], together["user_interest"], strict=True):
        np.testing.assert_array_equal(left, right)


def test_interest_moves_by_the_decay_and_weight_of_each_type_of_event(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=6, n_items=12, n_events=60)
    with description.open("a") as file:
        file.write("[interactions.types.view]\ndecay = 0.99\ninterest_weight = 0.1\n")
    path = tmp_path / "ratings.parquet"
    kinds = [[None, "view", "rate"][n % 3] for n in range(60)]
    frame = pl.read_parquet(path).with_columns(pl.Series("event_type", kinds))
    frame.write_parquet(path)
    workspace = open_workspace(description, tmp_path / "home")
    write_sources(workspace)
    items = embed_items(source(workspace, "items"), **declared(workspace))
    vectors = dict(zip(items["item_id"], items["item_embedding"], strict=True))
    tracked = track_interest(source(workspace, "user_events"), **declared(workspace))
    newest = tracked.groupby("user_id")["user_interest"].last()
    ordered = pl.read_parquet(path).sort("event_timestamp", "item_id", "event_id")
    for user, found in newest.items():
        state = np.zeros(384)
        for row in ordered.filter(user_id=user).iter_rows(named=True):
            weight, decay = (1.0, 0.9) if row["value"] >= 4 else (-0.5, 0.9)
            if row["event_type"] == "view":
                weight, decay = 0.1, 0.99
            state = decay * state + (1 - decay) * weight * vectors[row["item_id"]]
            state /= np.linalg.norm(state)
        np.testing.assert_allclose(found, state, atol=1e-5)


def test_an_instant_that_was_never_prepared_is_an_error(prepared: Workspace) -> None:
    frame = source(prepared, "user_events").head(1)
    frame["event_timestamp"] += timedelta(days=999)
    with pytest.raises(SchemaError, match="prepare"):
        track_interest(frame, **declared(prepared))


def test_a_changed_encoder_is_refused_not_mixed_in(prepared: Workspace, tmp_path: Path) -> None:
    changed = tmp_path / "dataset.toml"
    text = prepared.dataset.path.read_text().replace("max_tokens = 64", "max_tokens = 32")
    changed.write_text(text)
    assert load_dataset(changed).encoder.max_tokens == 32
    literals = declared(prepared) | {"dataset": str(changed)}
    with pytest.raises(EncoderMismatchError, match="encode anew: feast-fusion run"):
        embed_items(source(prepared, "items"), **literals)
