"""An artifact scores the same after a round trip, and refuses what it does not fit."""

import re
from pathlib import Path

import numpy as np
import pytest

from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError, SchemaError
from feast_fusion.sealed_json import read_json, write_json
from feast_fusion.training_set import TrainingSet
from intake.model_settings import RankerConfig
from tests.training.synthetic import make_dataset, make_training_set, without
from training.ranker.artifact import Artifact
from training.trainer import train


@pytest.fixture(scope="module")
def rows() -> TrainingSet:
    return make_training_set(30)


@pytest.fixture(scope="module")
def artifact(rows: TrainingSet) -> Artifact:
    config = RankerConfig(epochs=1, batch_size=128)
    return train(rows, make_dataset(), config, service="fusion_v1", encoder_id="e_1").artifact


def test_a_saved_artifact_scores_the_same(
    artifact: Artifact, rows: TrainingSet, tmp_path: Path
) -> None:
    loaded = Artifact.load(artifact.save(tmp_path / "artifact"))
    scores = loaded.score(rows)
    np.testing.assert_array_equal(scores, artifact.score(rows))
    assert scores.dtype == np.float32 and scores.shape == (len(rows),)
    assert ((scores > 0) & (scores < 1)).all()
    assert (loaded.service, loaded.encoder_id) == ("fusion_v1", "e_1")
    assert loaded.metrics == artifact.metrics


def test_no_rows_have_no_scores(artifact: Artifact, rows: TrainingSet) -> None:
    assert artifact.score(rows.take(np.zeros(0, np.int64))).shape == (0,)


def test_without_text_there_is_no_basis_to_save(rows: TrainingSet, tmp_path: Path) -> None:
    fewer = without(rows, "item_embedding")
    config = RankerConfig(epochs=1)
    made = train(fewer, make_dataset(), config, service="s", encoder_id=None).artifact
    loaded = Artifact.load(made.save(tmp_path / "artifact"))
    np.testing.assert_array_equal(loaded.score(fewer), made.score(fewer))


def test_saving_replaces_the_folder_and_leaves_nothing_beside_it(
    artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "old").touch()
    artifact.save(tmp_path / "artifact")
    beside = {path.name for path in tmp_path.iterdir()}
    assert beside == {"artifact"}
    names = sorted(path.name for path in (tmp_path / "artifact").iterdir())
    assert names == ["arrays.safetensors", "artifact.json"]


def test_vectors_of_another_encoder_are_refused(artifact: Artifact) -> None:
    artifact.require_encoder("e_1")
    with pytest.raises(EncoderMismatchError, match="got vectors of the encoder e_2, expected e_1"):
        artifact.require_encoder("e_2")


@pytest.mark.parametrize("name", ["artifact.json", "arrays.safetensors"])
def test_a_missing_file_is_named(artifact: Artifact, tmp_path: Path, name: str) -> None:
    folder = artifact.save(tmp_path / "artifact")
    (folder / name).unlink()
    with pytest.raises(FeatureNotFoundError, match=f"{name}: got no such file.*train first"):
        Artifact.load(folder)


@pytest.mark.parametrize("name", ["artifact.json", "arrays.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "a digit"])
def test_a_damaged_file_is_refused(
    artifact: Artifact, tmp_path: Path, name: str, damage: str
) -> None:
    folder = artifact.save(tmp_path / "artifact")
    content = bytearray((folder / name).read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "a digit":  # which is JSON still, and a number in an array
        (at,) = [m.start() for m in re.finditer(rb"[1-8](?=\D)", bytes(content))][-1:]
        content[at] += 1
    else:
        content[0 if name.endswith("json") else -1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SchemaError, match="Run"):
        Artifact.load(folder)


@pytest.mark.parametrize("key", ["service", "features", "shape"])
def test_a_description_without_a_part_is_refused(
    artifact: Artifact, tmp_path: Path, key: str
) -> None:
    folder = artifact.save(tmp_path / "artifact")
    description = read_json(folder / "artifact.json")
    del description[key]
    write_json(folder / "artifact.json", description)
    with pytest.raises(SchemaError, match="does not fit together"):
        Artifact.load(folder)


def test_another_format_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    folder = artifact.save(tmp_path / "artifact")
    write_json(folder / "artifact.json", read_json(folder / "artifact.json") | {"format": 0})
    with pytest.raises(SchemaError, match="artifact of format 0, expected 6"):
        Artifact.load(folder)
