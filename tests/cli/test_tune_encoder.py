"""The command: refusals, what it says, and a folder that one key of dataset.toml takes."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sentence_transformers import SentenceTransformer

from intake.workspace import open_workspace
from tests.conftest import Project, open_project
from tests.datasets import make_films
from tests.training.encoder_tuning.conftest import prepare
from transformations.declared_encoders import identify
from transformations.embedder import Embedder
from transformations.names import ITEMS
from transformations.prepared_sources import write_sources
from transformations.text import render_items


def test_the_real_model_is_tuned_and_used(tmp_path: Path) -> None:
    toml = make_films(tmp_path / "data")
    project = open_project(toml, tmp_path / "home")
    assert "feast-fusion prepare" in project.here("tune-encoder", fails=True).stderr
    write_sources(project.workspace)
    out = tmp_path / "tuned"
    options = ("--steps", "2", "--masked-steps", "1", "--hold-out", "0")
    said = project.here(
        "tune-encoder", "--out", str(out), "--json", str(tmp_path / "figures.json"), *options
    ).stdout
    assert f'[encoder] model = "{out}"' in said
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["all items"]["before"]["recall_50"] > 0
    assert figures["held-out items"]["after"]["n_queries"] > 0
    refused = project.here("tune-encoder", "--out", str(out), *options, fails=True).stderr
    assert "exists" in refused and "--out" in refused
    before = identify(project.workspace.dataset).encoder_id
    toml.write_text(toml.read_text().replace("sentence-transformers/all-MiniLM-L6-v2", str(out)))
    changed = open_workspace(toml, tmp_path / "home")
    after = identify(changed.dataset).encoder_id
    assert after != before and after.startswith("tuned_")
    require_served_as_theirs(Project(changed), out, after)


def require_served_as_theirs(project: Project, folder: Path, encoder_id: str) -> None:
    """Vectors of items by the workspace are those of sentence-transformers itself."""
    items = pq.read_table(project.workspace.source(ITEMS)).slice(0, 20)
    found, _ = Embedder(project.workspace, encoder_id).items(items)
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    texts = render_items(project.workspace.dataset.items.text, items)
    expected = theirs.encode(texts, normalize_embeddings=True)
    assert np.sum(found * expected, axis=1).min() > 0.9999


def test_an_unfinished_tuning_of_other_settings_is_said(tmp_path: Path) -> None:
    workspace = prepare(tmp_path)
    kept = workspace.encoder_checkpoints
    kept.mkdir(parents=True)
    (kept / "choices.safetensors").write_bytes(b"of another time")
    options = ("--steps", "1", "--target", "query", "--layers", "1")
    said = Project(workspace).here("tune-encoder", *options).stdout
    assert "starting again" in said
    assert not kept.exists()
    assert (workspace.tuned_encoder / "model.safetensors").is_file()
