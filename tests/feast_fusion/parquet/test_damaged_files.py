"""Sixteen random bytes in a Parquet file of ours are noticed, wherever they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_fusion.errors import SchemaError, StoreUnavailableError
from feast_fusion.parquet.opening import local_files
from feast_fusion.parquet.parts import append_part
from feast_fusion.parquet.seal import write_parquet
from feast_fusion.parquet.whole import count_rows, open_dataset, read_parquet, read_schema
from tests.damages import emptied, flipped, halved, overwritten

Read = Callable[[Path], pa.Table]
_N_DAMAGES = 60


def read_by_position(path: Path) -> pa.Table:
    return local_files(path, "source").read()


READERS = [read_by_position, read_parquet]


def rows() -> pa.Table:
    rng = np.random.default_rng(3)
    vectors = pa.FixedSizeListArray.from_arrays(rng.random(2_000 * 8, np.float32), 8)
    names = pa.array([f"item {n % 70}" for n in range(2_000)])
    return pa.table({"id": names, "n": rng.integers(0, 9, 2_000), "vector": vectors})


def n_silent(path: Path, read: Read) -> int:
    """How many of the damages leave other rows, and no error of ours."""
    whole, expected, found = path.read_bytes(), read(path), 0
    for seed in range(_N_DAMAGES):
        path.write_bytes(overwritten(seed)(whole))
        try:
            found += not read(path).equals(expected)
        except SchemaError as error:
            assert str(path) in str(error)
    path.write_bytes(whole)
    return found


@pytest.mark.parametrize("read", READERS)
def test_no_damage_passes_as_data(tmp_path: Path, read: Read) -> None:
    assert n_silent(append_part(tmp_path, rows()), read) == 0
    unsealed = tmp_path / "unsealed.parquet"
    pq.write_table(rows(), unsealed)
    assert n_silent(unsealed, read) > 0, "the same damages, without checksums"


@pytest.mark.parametrize("read", [*READERS, read_schema, count_rows, open_dataset])
@pytest.mark.parametrize("damage", [emptied, halved])
def test_half_a_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], read: Read) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(path, rows())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SchemaError, match=rf"{path}.*write it again.*Run feast-fusion run"):
        read(path)


@pytest.mark.parametrize("read", [*READERS, read_schema, count_rows, open_dataset])
def test_a_footer_that_parses_and_says_something_else_is_refused(
    tmp_path: Path, read: Read
) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(path, rows())
    content = path.read_bytes()
    at = content.rindex(b"item 9")  # the greatest id: readers leave out what they seek beyond it
    path.write_bytes(content[:at] + b"item 0" + content[at + 6 :])
    assert pq.read_metadata(path).row_group(0).column(0).statistics.max == "item 0"
    with pytest.raises(SchemaError, match="a footer of another digest"):
        read(path)


@pytest.mark.parametrize("n_rows", [0, 2_000])
def test_other_readers_read_what_we_write(tmp_path: Path, n_rows: int) -> None:
    written = rows().slice(0, n_rows)
    write_parquet(tmp_path / "x.parquet", written, use_dictionary=["id"])
    assert pq.read_table(tmp_path / "x.parquet").equals(written)


@pytest.mark.parametrize("read", READERS)
def test_files_of_others_are_read_as_they_are(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(rows(), path)
    expected = rows() if read is read_parquet else read(path)
    assert read(path).equals(expected) and len(expected) == 2_000
    with pytest.raises(StoreUnavailableError, match="absent"):
        read(tmp_path / "absent.parquet")


def test_a_damaged_part_of_a_folder_is_found(tmp_path: Path) -> None:
    append_part(tmp_path, rows())
    path = append_part(tmp_path, rows())
    path.write_bytes(flipped(path.read_bytes()))
    for read in READERS:
        with pytest.raises(SchemaError, match="checksum"):
            read(tmp_path)
