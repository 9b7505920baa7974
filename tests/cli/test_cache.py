"""`feast-fusion cache`: what is said of vectors on disk is so, and only broken ones go."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
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
