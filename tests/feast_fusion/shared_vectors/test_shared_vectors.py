"""Vectors that machines share: a machine here is a folder of its own and one place for all."""

import logging
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feast_fusion.encoding.vector_cache import VectorCache
from feast_fusion.errors import EncoderMismatchError, StoreUnavailableError
from feast_fusion.shared_vectors.shared_vectors import SharedVectors
from tests.feast_fusion.encoding import cache_writer
from tests.feast_fusion.encoding.cache_writer import WIDTH, open_cache, vectors_of
from tests.waiting import wait_until

TEXTS = [str(number) for number in range(300)]


def refuse(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError(f"asked to encode {texts[:3]}")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


def parts(place: Path) -> list[Path]:
    return sorted((place / "tiny_0123").glob("part-*.parquet"))


def require_right(cache: VectorCache, texts: list[str] = TEXTS) -> None:
    np.testing.assert_array_equal(cache.encode(texts, vectors_of), vectors_of(texts))


def test_what_one_machine_encoded_the_next_one_fetches(tmp_path: Path, place: Path) -> None:
    require_right(open_cache(tmp_path / "a", place))
    second = open_cache(tmp_path / "b", place)
    asked = [*TEXTS[::-2], "new", *TEXTS[:9], "new"]
    require_right(second, asked)
    assert second.n_encoded == 1
    shutil.rmtree(place)
    vectors, found = second.lookup(asked)
    assert found.all(), "its own from then on"
    np.testing.assert_array_equal(vectors, vectors_of(asked))
    require_right(second, asked)  # asks nobody where all is known
    assert not second.lookup(TEXTS[100:101])[1].any(), "no more than was asked for"


def test_a_batch_is_one_part_and_twice_the_same_one_file(tmp_path: Path, place: Path) -> None:
    first, second = open_cache(tmp_path / "a", place), open_cache(tmp_path / "b", place)
    first.encode(TEXTS, vectors_of, chunk=10)
    (only,) = parts(place)
    written = only.stat().st_mtime_ns
    require_right(second)
    require_right(first)
    assert [path.stat().st_mtime_ns for path in parts(place)] == [written]
    away = tmp_path / "away"
    away.mkdir()
    require_right(open_cache(tmp_path / "c", away))
    assert [path.name for path in parts(away)] == [only.name]


batches_of = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(TEXTS[:12]), max_size=6)), max_size=8
)


@settings(max_examples=20)
@given(batches_of)
def test_machines_together_encode_a_text_once(batches: list[tuple[str, list[str]]]) -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return vectors_of(texts)

    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "place").mkdir()
        machines = {each: open_cache(folder / each, folder / "place") for each in "abc"}
        for machine, texts in batches:
            found = machines[machine].encode(texts, encode, chunk=5)
            np.testing.assert_array_equal(found, vectors_of(texts))
        stored = [key for path in parts(folder / "place") for key in pq.read_table(path)["digest"]]
    assert sorted(asked) == sorted({text for _, texts in batches for text in texts})
    assert len(stored) == len(set(stored)) == len(asked)


def writer(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, cache_writer.__file__, str(folder), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_machines_at_once(tmp_path: Path, place: Path) -> None:
    running = [
        writer(tmp_path / name, first, 400, 50, place) for name, first in [("a", 0), ("b", 200)]
    ]
    texts = [str(number) for number in range(600)]
    for process in running:
        go(process)
    require_right(open_cache(tmp_path / "a", place), texts)  # a second process of machine a
    for process in running:
        process.communicate()
        assert process.returncode == 0
    fetched = open_cache(tmp_path / "c", place).encode(texts, refuse)
    np.testing.assert_array_equal(fetched, vectors_of(texts))


def test_a_machine_killed_before_it_shares_does_so_in_its_next_run(
    tmp_path: Path, place: Path
) -> None:
    process = writer(tmp_path / "a", 0, 300, 300, "hold", place)
    go(process)
    assert process.stdout is not None and process.stdout.readline() == "chunk\n"
    (index,) = (tmp_path / "a" / "shared").glob("*/tiny_0123")
    with FileLock(index / ".lock"):  # where it waits before it adds a part
        go(process)
        wait_until(lambda: open_cache(tmp_path / "a").lookup(TEXTS)[1].all(), "encoded")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert parts(place) == []
    again = open_cache(tmp_path / "a", place)
    np.testing.assert_array_equal(again.encode(TEXTS, refuse), vectors_of(TEXTS))
    np.testing.assert_array_equal(
        open_cache(tmp_path / "b", place).encode(TEXTS, refuse), vectors_of(TEXTS)
    )


# Damage


def test_no_flipped_byte_gives_a_wrong_vector(
    tmp_path: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = TEXTS[:20]
    require_right(open_cache(tmp_path / "a", place), texts)
    (path,) = parts(place)
    content = bytearray(path.read_bytes())
    n_noticed = 0
    for number, at in enumerate(range(0, len(content), 61)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        caplog.clear()
        cache = open_cache(tmp_path / f"b{number}", place)
        require_right(cache, texts)
        assert cache.n_encoded in (0, len(texts))
        assert bool(cache.n_encoded) == (path.name in caplog.text)
        n_noticed += bool(cache.n_encoded)
        for added in set(parts(place)) - {path}:
            added.unlink()
    assert n_noticed > number / 2


def test_a_damaged_part_is_encoded_and_shared_anew(
    tmp_path: Path, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    require_right(open_cache(tmp_path / "a", place))
    (path,) = parts(place)
    table = pq.read_table(path)
    zeros = pa.array([bytes(4 * WIDTH)] * len(table), table.schema.field("vector").type)
    pq.write_table(table.set_column(2, "vector", zeros), path)  # whole, but for each checksum
    with caplog.at_level(logging.WARNING):
        second = open_cache(tmp_path / "b", place)
        require_right(second, TEXTS[:50])
    assert f"{path}: got 50 of 50 vectors that fail their checksum" in caplog.text
    assert "its texts are encoded anew" in caplog.text
    assert len(parts(place)) == 2
    third = open_cache(tmp_path / "c", place)
    np.testing.assert_array_equal(third.encode(TEXTS[:50], refuse), vectors_of(TEXTS[:50]))


@pytest.mark.parametrize("content", [b"", b"not an index" * 40, None])
def test_a_damaged_index_costs_no_vector(
    tmp_path: Path, place: Path, content: bytes | None
) -> None:
    require_right(open_cache(tmp_path / "a", place))
    open_cache(tmp_path / "b", place).encode(TEXTS[:1], refuse)
    (index,) = (tmp_path / "b").glob("shared/*/tiny_0123/*.npy")
    if content is None:  # each entry leads to another row
        entries = np.load(index)
        np.save(index, np.stack([entries[0], np.roll(entries[1], 1)]))
    else:
        index.write_bytes(content)
    second = open_cache(tmp_path / "b", place)
    require_right(second)
    assert content is None or second.n_encoded == 0


def test_parts_may_be_removed(tmp_path: Path, place: Path) -> None:
    first, second = open_cache(tmp_path / "a", place), open_cache(tmp_path / "b", place)
    require_right(first)
    second.encode(TEXTS[:1], refuse)
    for path in parts(place):
        path.unlink()
    require_right(second)
    assert second.n_encoded == len(TEXTS) - 1
    np.testing.assert_array_equal(
        open_cache(tmp_path / "c", place).encode(TEXTS, refuse), vectors_of(TEXTS)
    )


# Refusals


def test_a_place_that_is_absent_is_told_before_anything_is_encoded(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(StoreUnavailableError, match=rf"{absent}: got no folder .*FUSION_VECTORS"):
        open_cache(tmp_path / "a", absent).encode(["a"], refuse)
    assert not absent.exists()


def test_a_place_that_is_lost_meanwhile_loses_nothing(tmp_path: Path, place: Path) -> None:
    def encode(texts: list[str]) -> NDArray[np.float32]:
        shutil.rmtree(place)
        place.touch()
        return vectors_of(texts)

    cache = open_cache(tmp_path / "a", place)
    with pytest.raises(StoreUnavailableError, match=r"FUSION_VECTORS .*what is done is kept"):
        cache.encode(TEXTS, encode)
    assert cache.lookup(TEXTS)[1].all()


def test_vectors_of_another_width_are_refused(tmp_path: Path, place: Path) -> None:
    require_right(open_cache(tmp_path / "a", place))
    folder = tmp_path / "b"
    shared = SharedVectors(str(place), folder / "shared", "tiny_0123", 8)
    with pytest.raises(EncoderMismatchError, match=r"part-\w+\.parquet: got .* 16, expected 8"):
        VectorCache(folder, "tiny_0123", 8, shared).encode(TEXTS, refuse)
