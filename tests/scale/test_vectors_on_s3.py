"""Vectors that the workers of a cluster share on an object store, each with a folder of its own."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from pyarrow import fs

from feast_fusion.errors import StoreUnavailableError
from tests.feast_fusion.encoding.cache_writer import open_cache, vectors_of
from tests.scale.machine import Machine
from tests.scale.object_store import BUCKET, Lake

TEXTS = [str(number) for number in range(400)]


@pytest.fixture(scope="module")
def cluster(lake: Lake) -> Iterator[None]:
    """Its workers have the environment of this process, in which the store is named."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[2])}},
    )
    yield
    ray.shutdown()


def test_workers_fetch_what_others_encoded(cluster: None, tmp_path: Path, lake: Lake) -> None:
    place = f"s3://{BUCKET}/workers"
    machine = ray.remote(Machine)
    a, b = (machine.remote(str(tmp_path / name), place) for name in "ab")
    both = ray.get([a.encode.remote(TEXTS[:250]), b.encode.remote(TEXTS[150:])])
    np.testing.assert_array_equal(both[0][0], vectors_of(TEXTS[:250]))
    np.testing.assert_array_equal(both[1][0], vectors_of(TEXTS[150:]))
    vectors, n_encoded = ray.get(b.encode.remote(TEXTS))
    np.testing.assert_array_equal(vectors, vectors_of(TEXTS))
    assert n_encoded == both[1][1], "the rest was the other worker's"
    assert len(lake.files("workers")) == 2
    for each in (a, b):
        ray.kill(each)


def test_a_damaged_object_gives_no_vector(
    tmp_path: Path, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    place = f"s3://{BUCKET}/damaged"
    open_cache(tmp_path / "a", place).encode(TEXTS[:9], vectors_of)
    filesystem, root = fs.FileSystem.from_uri(place)
    (name,) = lake.files("damaged")
    path = f"{root}/{name}"
    with filesystem.open_input_stream(path) as stream:
        content = stream.read()
    for number, at in enumerate(range(5, len(content), 211)):
        with filesystem.open_output_stream(path) as stream:
            stream.write(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with caplog.at_level(logging.WARNING):
            cache = open_cache(tmp_path / f"b{number}", place)
            np.testing.assert_array_equal(
                cache.encode(TEXTS[:9], vectors_of), vectors_of(TEXTS[:9])
            )
        for added in set(lake.files("damaged")) - {name}:
            filesystem.delete_file(f"{root}/{added}")
    assert path in caplog.text and "encoded anew" in caplog.text


@pytest.mark.parametrize("place", ["s3://nobody/vectors", "gopher://nobody/vectors"])
def test_a_place_that_is_not_reached_is_told(tmp_path: Path, lake: Lake, place: str) -> None:
    cache = open_cache(tmp_path, place)
    with pytest.raises(StoreUnavailableError, match=f"{place}: .*FUSION_VECTORS.*is kept"):
        cache.encode(TEXTS, vectors_of)
