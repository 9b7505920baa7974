"""A training set on an object store: equal, damaged, killed while it was written."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import fs

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.training_set import Indexed, TrainingSet
from feast_fusion.training_set_store import copy_of, fetch
from tests.scale.object_store import BUCKET, Lake

KILLED = """
import os, signal, sys
from types import SimpleNamespace
from pyarrow import fs
from feast_fusion import training_set_store as store
from tests.scale.test_object_storage import make_set
def copy(*args, **options):
    fs.copy_files(*args, **options)
    os.kill(os.getpid(), signal.SIGKILL)
store.fs = SimpleNamespace(copy_files=copy, FileSystem=fs.FileSystem)
make_set(5).save(sys.argv[1])
"""


def make_set(n_rows: int) -> TrainingSet:
    index = np.arange(n_rows, dtype=np.int32) // 2
    index[-1] = -1
    tags = pa.array([["a"], ["b", "c"], []])
    return TrainingSet(
        pa.table({"item_id": [f"i{n}" for n in range(n_rows)], "label": list(range(n_rows))}),
        {"item__emb": Indexed(np.random.default_rng(0).random((n_rows, 4), np.float32), index)},
        {"item__tags": Indexed(tags, np.arange(n_rows, dtype=np.int32) % 3)},
    )


@pytest.fixture
def place(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return f"s3://{BUCKET}/sets/{request.node.name}"


def stored(place: str, name: str) -> tuple[fs.FileSystem, str]:
    filesystem, root = fs.FileSystem.from_uri(place)
    found = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    (path,) = (info.path for info in found if info.base_name == name and "/" in info.path)
    return filesystem, path


def test_what_else_lies_at_a_place_stays(place: str) -> None:
    filesystem, root = fs.FileSystem.from_uri(place)
    with filesystem.open_output_stream(f"{root}/prices/2026.csv") as stream:
        stream.write(b"not ours")
    for n_rows in (6, 7):  # the first version is removed
        make_set(n_rows).save(place)
    found = filesystem.get_file_info(fs.FileSelector(root))
    assert sum(info.type == fs.FileType.Directory for info in found) == 2
    assert filesystem.get_file_info(f"{root}/prices/2026.csv").size == 8


def test_it_is_equal_and_fetched_once(place: str) -> None:
    built = make_set(6)
    assert built.save(place) == place
    opened = TrainingSet.open(place)
    assert opened.to_arrow().equals(built.to_arrow())
    assert isinstance(opened.vectors["item__emb"].values, np.memmap)
    before = {path: path.stat().st_ino for path in copy_of(place).iterdir()}
    assert TrainingSet.open(place).to_arrow().equals(built.to_arrow())
    assert {path: path.stat().st_ino for path in copy_of(place).iterdir()} == before
    damaged = copy_of(place) / "vectors-0.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"!")
    assert TrainingSet.open(place).to_arrow().equals(built.to_arrow()), "fetched again"


def test_another_set_takes_its_place_and_the_old_files_go(place: str) -> None:
    make_set(6).save(place)
    opened = TrainingSet.open(place)
    make_set(8).save(place)
    assert len(TrainingSet.open(place)) == 8
    assert opened.to_arrow().equals(make_set(6).to_arrow()), "who has it mapped keeps it"
    stored(place, "table.arrow")  # one


def test_a_damaged_byte_is_refused(place: str, tmp_path: Path) -> None:
    make_set(6).save(place)
    fetch(place, tmp_path / "kept")
    filesystem, path = stored(place, "vectors-0.npy")
    with filesystem.open_input_file(path) as file:
        content = bytearray(file.read())
    content[-3] ^= 1
    with filesystem.open_output_stream(path) as stream:
        stream.write(bytes(content))
    with pytest.raises(SchemaError, match=r"s3://.*vectors-0\.npy: got a damaged file"):
        TrainingSet.open(place)
    assert len(TrainingSet.open(tmp_path / "kept")) == 6
    assert fetch(place, tmp_path / "kept")["n_rows"] == 6, "what was fetched before is not again"


def test_a_killed_upload_leaves_the_old_one(place: str) -> None:
    make_set(6).save(place)
    done = subprocess.run([sys.executable, "-c", KILLED, place], check=False)
    assert done.returncode == -signal.SIGKILL
    assert TrainingSet.open(place).to_arrow().equals(make_set(6).to_arrow())
    make_set(7).save(place)
    assert len(TrainingSet.open(place)) == 7
    stored(place, "table.arrow")  # one


def test_where_nothing_is(place: str) -> None:
    with pytest.raises(StoreUnavailableError, match="expected the URI of a training set"):
        TrainingSet.open(place)
    with pytest.raises(StoreUnavailableError, match="expected the URI of a training set"):
        TrainingSet.open("nowhere://bucket/set")
