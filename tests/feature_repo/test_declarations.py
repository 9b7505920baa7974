"""The declarations as Feast's own commands see them."""

import importlib
import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cli import feast_repository
from cli.embedded_redis import embedded_redis
from cli.feast_repository import REPOSITORY, environment, open_store
from cli.redis_url import connection_string
from tests.applying import declarations_of
from tests.conftest import Project
from tests.datasets import START
from tests.feast_fusion.feast_repo import FEAST as LIGHT
from tests.waiting import wait_until
from transformations.embedder import Embedder
from transformations.names import NEXT_ITEM_SERVICE, SERVICE

FEAST = str(Path(sys.executable).parent / "feast")


def feast(project: Project, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env=os.environ | environment(project.workspace) | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def encoder_id(project: Project) -> str:
    (sink,) = project.workspace.sinks.glob("item_embedding__*")
    return sink.name.split("__")[1]


def test_apply_loads_no_model_and_a_second_one_changes_nothing(films: Project) -> None:
    applied = feast(films, FEAST, "apply", PYTHONPROFILEIMPORTTIME="1")
    assert applied.returncode == 0, applied.stderr[-2000:]
    imported = {
        line.rsplit("|", 1)[1].strip() for line in applied.stderr.splitlines() if "|" in line
    }
    assert "transformations.on_demand" in imported, "the declarations were read"
    assert not {"transformers", "safetensors", "tokenizers"} & imported
    planned = feast(films, *LIGHT, "plan")
    assert planned.returncode == 0, planned.stderr[-2000:]


def test_the_declarations_are_ours_wherever_a_command_is_called(
    films: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "definitions.py").write_text("raise SystemExit('those of somebody else')\n")
    monkeypatch.chdir(tmp_path)
    feast_repository.feast(films.workspace, feast_repository.NO_REDIS, "apply")


def test_a_program_that_imports_the_declarations_gets_real_vectors(films: Project) -> None:
    text = "a comedy about two friends"
    with declarations_of(REPOSITORY) as patch:
        for name, value in environment(films.workspace).items():
            patch.setenv(name, value)
        importlib.import_module("feature_repo.definitions")
        read = open_store(films.workspace).get_online_features(
            ["query_embedding:query_embedding"], [{"query_text": text}]
        )
    expected, _ = Embedder(films.workspace, encoder_id(films)).queries([text])
    found = read.to_dict()["query_embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_every_view_of_the_design_is_registered(films: Project) -> None:
    store = open_store(films.workspace)
    names = {view.name for view in store.list_all_feature_views()}
    identity = encoder_id(films)
    assert names == {
        "item_profile",
        "item_stats",
        "user_profile",
        "user_stats",
        "user_recent",
        "user_snapshot",
        "user_event",
        "item_neighbours",
        "item_factors",
        f"item_embedding__{identity}",
        f"user_embedding__{identity}",
        f"user_interest__{identity}",
        "query_embedding",
        "user_item_affinity",
    }
    service = store.get_feature_service("fusion_ranker_v1")
    assert {p.name.split("__")[0] for p in service.feature_view_projections} == {
        "item_profile",
        "item_stats",
        "user_profile",
        "user_stats",
        "user_recent",
        "item_embedding",
        "user_embedding",
        "user_interest",
    }


@pytest.mark.parametrize("name", [SERVICE, NEXT_ITEM_SERVICE])
def test_a_history_needs_no_full_feature_names(films: Project, name: str) -> None:
    """Names are unique, and those of vectors are the same whatever the encoder."""
    store = open_store(films.workspace)
    asked = pd.DataFrame(
        {
            "user_id": ["u1", "u2"],
            "item_id": ["f1", "f2"],
            "event_timestamp": [datetime.now(UTC)] * 2,
        }
    )
    frame = store.get_historical_features(asked, store.get_feature_service(name)).to_df()
    assert len(frame) == 2 and frame["user_last_event_s"].notna().all()
    if name == SERVICE:
        assert frame["item_n_events"].tolist() != frame["user_n_events"].tolist()
        width = {len(vector) for vector in frame["item_embedding"]}
        assert len(width) == 1 and not any("__" in column for column in frame.columns)


def test_without_the_exports_the_missing_variable_is_named() -> None:
    done = subprocess.run(
        [*LIGHT, "apply"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert 'run eval "$(feast-fusion env)" in this shell' in done.stderr


def test_the_page_of_feast_shows_views_and_their_services(films: Project) -> None:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    page = subprocess.Popen(
        [*LIGHT, "ui", "--host", host, "--port", str(port)],
        cwd=REPOSITORY,
        env=os.environ | environment(films.workspace),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answer(path: str) -> bytes:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=60) as found:
                body: bytes = found.read()
                return body
        except OSError:
            assert page.poll() is None, "feast ui has ended"
            return b""

    try:
        wait_until(lambda: answer("/"), "the page")
        project = films.workspace.dataset.name
        lineage = json.loads(answer(f"/api/v1/lineage/registry?project={project}"))
        arrows = {
            (each["source"]["name"], each["target"]["name"]) for each in lineage["relationships"]
        }
        vectors = f"item_embedding__{encoder_id(films)}"
        assert {("item_stats", SERVICE), (vectors, SERVICE), ("item", vectors)} <= arrows
    finally:
        page.terminate()
        page.wait()


def test_request_text_is_encoded_by_the_encoder_of_the_items(films: Project) -> None:
    workspace = films.workspace
    text = "a western with horses"
    expected = Embedder(workspace, encoder_id(films)).queries([text])[0][0]
    with embedded_redis(workspace.redis) as running:
        store = open_store(workspace, connection_string(running.url))
        read = store.get_online_features(
            features=[
                "query_embedding:query_embedding",
                "user_item_affinity:interest_cosine",
                "user_item_affinity:query_cosine",
                f"item_embedding__{encoder_id(films)}:item_embedding",
                f"user_interest__{encoder_id(films)}:user_interest",
            ],
            entity_rows=[
                {"user_id": user, "item_id": "f3", "query_text": text} for user in ("u1", "nobody")
            ],
        ).to_dict()
    np.testing.assert_allclose(read["query_embedding"][0], expected, atol=1e-6)
    item = np.array(read["item_embedding"][0])
    assert read["query_cosine"][0] == pytest.approx(float(expected @ item), abs=1e-6)
    interest = float(item @ np.array(read["user_interest"][0]))
    assert read["interest_cosine"][0] == pytest.approx(interest, abs=1e-6)
    assert read["interest_cosine"][1] is None or np.isnan(read["interest_cosine"][1])


def test_request_text_works_in_history_too(films: Project) -> None:
    spine = pa.table(
        {
            "user_id": ["u1"],
            "item_id": ["f3"],
            "query_text": ["a western with horses"],
            "event_timestamp": pa.array([START], pa.timestamp("us", "UTC")),
        }
    )
    store = open_store(films.workspace)
    row = store.get_historical_features(
        entity_df=spine.to_pandas(), features=["user_item_affinity:query_cosine"]
    ).to_df()
    assert -1.0 <= row["query_cosine"][0] <= 1.0
