"""A model by its hub name, against a server that answers as the hub does: whole, or refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from feast_fusion.encoding.identity import describe_encoder
from tests.feast_fusion.encoding.model_hub import hub_of
from tests.feast_fusion.encoding.tiny_models import save_model

NAME = "someone/tiny"
PROGRAM = """
import sys
from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.errors import FeastFusionError
try:
    print(describe_encoder(sys.argv[1]).encoder_id)
except FeastFusionError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "tiny"
    pooling = {"pooling_mode_cls_token": True}
    save_model(folder, "bert", pooling=pooling, sentence={"max_seq_length": 40})
    (folder / "README.md").write_text("# Tiny")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"large")
    return folder


def describe(home: Path, url: str, model: str = NAME) -> str:
    """What a process with this cache and this hub says of the model."""
    variables = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}
    variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "5"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, model], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_model_is_fetched_whole_and_then_needs_no_hub(published: Path, tmp_path: Path) -> None:
    expected = describe_encoder(published).encoder_id
    with hub_of(published, NAME) as (url, fetched):
        assert describe(tmp_path, url) == expected
        assert {"modules.json", "1_Pooling/config.json", "model.safetensors"} <= set(fetched)
        assert not {"onnx/model.onnx", "README.md"} & set(fetched)
        fetched.clear()
        assert describe(tmp_path, url) == expected
        assert fetched == []
    assert describe(tmp_path, "http://127.0.0.1:1") == expected


@pytest.mark.parametrize(
    "lost",
    ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "tokenizer.json"],
)
def test_what_a_cache_lost_is_fetched_else_refused(
    published: Path, tmp_path: Path, lost: str
) -> None:
    with hub_of(published, NAME) as (url, _):
        whole = describe(tmp_path, url)
        (snapshot,) = (tmp_path / "hub").glob("models--someone--tiny/snapshots/*")
        (snapshot / lost).unlink()
        assert describe(tmp_path, url) == whole
        (snapshot / lost).unlink()
    said = describe(tmp_path, "http://127.0.0.1:1")
    if lost in ("tokenizer.json", "sentence_bert_config.json"):
        assert said.startswith("StoreUnavailableError") and NAME in said
    else:
        assert said.startswith("SchemaError") and "pooling = one of mean, cls" in said


def test_a_model_whose_authors_say_no_pooling_is_refused(published: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published, tmp_path / "plain"))
    (folder / "modules.json").unlink()
    with hub_of(folder, NAME) as (url, _):
        said = describe(tmp_path / "home", url)
    assert said.startswith("SchemaError") and "no modules.json" in said


def test_a_hub_that_cannot_be_reached_or_does_not_know_the_model(
    published: Path, tmp_path: Path
) -> None:
    said = describe(tmp_path, "http://127.0.0.1:1")
    assert said.startswith("StoreUnavailableError") and NAME in said
    with hub_of(published, NAME) as (url, _):
        said = describe(tmp_path, url, "someone/else")
    assert said.startswith("StoreUnavailableError") and "someone/else" in said
