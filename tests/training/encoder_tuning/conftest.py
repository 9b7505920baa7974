"""A data set with taste in it, and a tiny encoder that does not know the taste."""

from pathlib import Path

import pytest

from intake.workspace import Workspace, open_workspace
from tests.datasets import make_films
from tests.feast_fusion.encoding.tiny_models import save_model
from transformations.prepared_sources import write_sources


def prepare(folder: Path, family: str = "bert", **options: object) -> Workspace:
    """Prepared films behind a tiny model of random weights."""
    save_model(folder / "model", family, pooling={"pooling_mode_mean_tokens": True}, **options)
    path = make_films(folder / "data")
    text = path.read_text().replace("sentence-transformers/all-MiniLM-L6-v2", str(folder / "model"))
    path.write_text(text)
    workspace = open_workspace(path, folder / "home")
    write_sources(workspace)
    return workspace


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("tiny"))
