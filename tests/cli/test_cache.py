"""`feast-fusion cache`: what is said of vectors on disk is so, and only broken ones go."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cli import main
from feast_fusion.encoding.cache_care import list_caches
from tests.datasets import make_films
from tests.feast_fusion.encoding.cache_writer import WIDTH, open_cache, vectors_of

TEXTS = [str(number) for number in range(2000)]


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """The folder of vectors of a home, with 2,000 of the encoder tiny_0123."""
    make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    folder = tmp_path / "home" / "vectors"
    open_cache(folder).encode(TEXTS, vectors_of, chunk=500)
    return folder


def cache(vectors: Path, *arguments: str) -> Result:
    home = vectors.parent
    description = next(home.parent.glob("**/dataset.toml"))
    options = ["--dataset", str(description), "--home", str(home)]
    return CliRunner().invoke(main, ["cache", arguments[0], *options, *arguments[1:]])


def found(vectors: Path) -> np.ndarray:
    """Which of the texts have a vector; each one is the right one."""
    read, is_found = open_cache(vectors).lookup(TEXTS)
    np.testing.assert_array_equal(read[is_found], vectors_of(TEXTS)[is_found])
    return is_found


def spoil(vectors: Path, statement: str) -> None:
    with closing(sqlite3.connect(vectors / "tiny_0123.sqlite")) as connection, connection:
        connection.execute(statement)


def test_stats_say_what_there_is(vectors: Path) -> None:
    answer = cache(vectors, "stats")
    assert answer.exit_code == 0
    assert f"tiny_0123: 2,000 vectors of {WIDTH} numbers, 0.000 GB." in answer.output
    assert f"1 encoders, 0.000 GB in {vectors}." in answer.output


def test_a_sound_cache_is_told_so(vectors: Path) -> None:
    answer = cache(vectors, "verify")
    assert answer.exit_code == 0
    assert "tiny_0123: 2,000 vectors sound." in answer.output


def test_broken_vectors_are_counted_and_removed(vectors: Path) -> None:
    spoil(vectors, "UPDATE vector SET value = zeroblob(64) WHERE rowid <= 150")
    answer = cache(vectors, "verify")
    assert answer.exit_code == 1
    assert "tiny_0123: 1,850 vectors sound, 150 broken and removed." in answer.output
    assert found(vectors).sum() == 1850
    assert cache(vectors, "verify").exit_code == 0


@pytest.mark.parametrize("kept", [0, 60, 0.5, 0.99])
def test_a_torn_file_is_set_aside_then_compacted_away(vectors: Path, kept: float) -> None:
    path = vectors / "tiny_0123.sqlite"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept if kept > 1 else len(content) * kept)])
    assert cache(vectors, "verify").exit_code == 1
    open_cache(vectors).encode(TEXTS, vectors_of)
    assert "1 damaged files set aside" in cache(vectors, "stats").output or kept == 0
    answer = cache(vectors, "compact")
    assert answer.exit_code == 0
    assert not list(vectors.glob("*.damaged*"))
    assert found(vectors).all()


def test_compact_keeps_the_newest_within_a_bound(vectors: Path) -> None:
    size = (vectors / "tiny_0123.sqlite").stat().st_size
    answer = cache(vectors, "compact", "--at-most-gb", str(size / 2 / 1e9))
    assert "Before: 2,000 vectors" in answer.output
    kept = found(vectors)
    # Chunks are of texts of one length, the longest first: the newest are the shortest.
    assert 500 < kept.sum() < 1200
    assert kept[:100].all() and not kept[1500:].all()
    assert (vectors / "tiny_0123.sqlite").stat().st_size <= size / 2
    assert cache(vectors, "compact", "--at-most-gb", "0").exit_code == 0
    assert not found(vectors).any()


def test_an_encoder_is_dropped_by_name(vectors: Path) -> None:
    answer = cache(vectors, "compact", "--drop", "nobody")
    assert answer.exit_code == 1
    assert "got no vectors of nobody, expected one of tiny_0123" in answer.output
    assert "tiny_0123: removed." in cache(vectors, "compact", "--drop", "tiny_0123").output
    assert list_caches(vectors) == []


@pytest.fixture
def place(vectors: Path) -> Path:
    """Where machines share vectors: 20 parts of ten texts each."""
    folder = vectors.parent / "place"
    folder.mkdir()
    for first in range(0, 200, 10):
        open_cache(vectors.parent / "machine", folder).encode(TEXTS[first : first + 10], vectors_of)
    return folder


def refuse(texts: list[str]) -> np.ndarray:
    raise AssertionError(f"asked to encode {texts[:3]}")


def fetched(place: Path, machine: str, n: int) -> np.ndarray:
    """Vectors of the first `n` texts on a machine that has none; none is encoded."""
    return open_cache(place.parent / machine, place).encode(TEXTS[:n], refuse)


def test_shared_vectors_become_one_file(vectors: Path, place: Path) -> None:
    asked = ("--shared", str(place))
    (twice, *_) = files = sorted(place.glob("tiny_0123/part-*"))
    shutil.copy(twice, twice.with_name("part-" + "0" * 32 + ".parquet"))
    assert "tiny_0123, shared: 21 files, 0.000 GB." in cache(vectors, "stats", *asked).output
    early = open_cache(vectors.parent / "early", place)
    early.encode(TEXTS[:1], refuse)
    answer = cache(vectors, "compact", *asked)
    assert answer.exit_code == 0
    assert "shared: 1 files, 0.000 GB. Before: 21 files" in answer.output
    assert not any(path.exists() for path in files)
    np.testing.assert_array_equal(fetched(place, "late", 200), vectors_of(TEXTS[:200]))
    np.testing.assert_array_equal(early.encode(TEXTS[:200], refuse), vectors_of(TEXTS[:200]))
    known = vectors.parent.glob("early/shared/*/tiny_0123/*.npy")
    assert len(list(known)) == 1, "files that went are forgotten"
    again = cache(vectors, "compact", *asked)
    assert "shared: 1 files, 0.000 GB. Before: 1 files" in again.output
    (merged,) = place.glob("tiny_0123/part-*")
    assert len(pq.read_table(merged)) == 200


def test_damaged_shared_files_are_removed(
    vectors: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUSION_VECTORS", str(place))
    assert "tiny_0123, shared: 200 vectors sound." in cache(vectors, "verify").output
    first, second, *_ = sorted(place.glob("tiny_0123/part-*"))
    first.write_bytes(first.read_bytes()[:-50])
    second.write_bytes(b"no Parquet")
    answer = cache(vectors, "compact")
    assert answer.exit_code == 0 and "shared: 3 files" in answer.output, "the damaged ones stay"
    answer = cache(vectors, "verify")
    assert answer.exit_code == 1
    assert f"{first}: broken and removed." in answer.output
    assert "tiny_0123, shared: 180 vectors sound." in answer.output
    assert cache(vectors, "verify").exit_code == 0
    second_machine = open_cache(vectors.parent / "late", place)
    np.testing.assert_array_equal(
        second_machine.encode(TEXTS[:200], vectors_of), vectors_of(TEXTS[:200])
    )
    assert second_machine.n_encoded == 20


def test_a_place_that_is_absent_is_told_in_one_line(vectors: Path) -> None:
    answer = cache(vectors, "stats", "--shared", str(vectors.parent / "absent"))
    assert answer.exit_code == 1
    assert "got no folder" in answer.output and "Traceback" not in answer.output
