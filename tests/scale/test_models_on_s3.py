"""Versions of the model that hosts share on an object store."""

from pathlib import Path

import pytest
from pyarrow import fs

from feast_fusion.errors import SchemaError, StoreUnavailableError
from tests.scale.object_store import BUCKET, Lake
from tests.training.shared_place import hosts_of, small_artifacts
from training.model_versions import ModelVersions
from training.promotions import Promoted, Promotions
from training.shared_models import SharedModels


def test_hosts_follow_what_is_promoted_in_a_bucket(tmp_path: Path, lake: Lake) -> None:
    place = f"s3://{BUCKET}/models"
    one, other = hosts_of(place, tmp_path, small_artifacts(2))
    second, first = ModelVersions(one).names()
    Promotions(other).follow()
    assert Promotions(other).names() == set()
    for name in (first, second):
        Promotions(one).promote(name)
        Promotions(other).follow()
        assert Promotions(other).read().main == name
        assert ModelVersions(other).load(name).version == name
    assert Promotions(other).roll_back() == Promoted({first: 1.0})
    Promotions(one).follow()
    assert Promotions(one).read().main == first
    shared = SharedModels(place, one)
    assert {version.name for version in shared.all()} == {first, second}
    shared.remove(second)
    assert [version.name for version in shared.all()] == [first]
    assert not lake.files(f"models/{one.dataset.name}/{second}")


def test_a_damaged_object_is_no_version(tmp_path: Path, lake: Lake) -> None:
    one, other = hosts_of(f"s3://{BUCKET}/damaged_models", tmp_path, small_artifacts(1))
    (name,) = ModelVersions(one).names()
    Promotions(one).promote(name)
    filesystem, _ = fs.FileSystem.from_uri(f"s3://{BUCKET}")
    path = f"{BUCKET}/damaged_models/{one.dataset.name}/{name}/served/arrays.safetensors"
    with filesystem.open_output_stream(path) as stream:
        stream.write(b"other")
    with pytest.raises(SchemaError, match="got a damaged file"):
        Promotions(other).follow()
    assert ModelVersions(other).names() == [] and Promotions(other).names() == set()


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, lake: Lake) -> None:
    one, _ = hosts_of("s3://nobody/models", tmp_path, small_artifacts(1))
    with pytest.raises(StoreUnavailableError, match=r"s3://nobody/models: .*FUSION_MODELS"):
        Promotions(one).promote(ModelVersions(one).names()[0])
