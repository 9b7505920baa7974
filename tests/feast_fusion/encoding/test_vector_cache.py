import logging
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from bisect import bisect
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from feast_fusion.encoding.identity import describe_encoder
from feast_fusion.encoding.transformer_encoder import TransformerEncoder
from feast_fusion.encoding.vector_cache import VectorCache, text_keys
from feast_fusion.errors import EncoderMismatchError, SchemaError, StoreUnavailableError
from tests.feast_fusion.encoding.cache_writer import WIDTH, open_cache, vectors_of
from tests.feast_fusion.encoding.conftest import MINILM
from tests.waiting import wait_until


def refuse(texts: list[str]) -> NDArray[np.float32]:
    raise AssertionError(f"asked to encode {texts[:3]}")


texts_of = st.lists(st.text(st.characters(), max_size=6), max_size=20)


@settings(max_examples=15)
@given(batches=st.lists(texts_of, max_size=4), chunk=st.integers(1, 8))
def test_each_distinct_text_is_encoded_once(batches: list[list[str]], chunk: int) -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> NDArray[np.float32]:
        assert 0 < len(texts) <= chunk
        asked.extend(texts)
        return vectors_of(texts)

    with TemporaryDirectory() as folder:
        for batch in batches:
            found = open_cache(Path(folder)).encode(batch, encode, chunk=chunk)
            np.testing.assert_array_equal(found, vectors_of(batch))
        assert sorted(asked) == sorted({text for batch in batches for text in batch})


def test_lookup_tells_found_from_absent(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.encode(["a", "b"], vectors_of)
    vectors, found = cache.lookup(["b", "x", "a", "b"])
    assert found.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(vectors[found], vectors_of(["b", "a", "b"]))
    assert not vectors[1].any()
    vectors, found = cache.lookup([])
    assert vectors.shape == (0, WIDTH) and found.shape == (0,)


def test_more_keys_than_one_read_takes(tmp_path: Path) -> None:
    texts = [str(number) for number in range(9000)]
    cache = open_cache(tmp_path)
    cache.encode(texts, vectors_of, chunk=9000)
    np.testing.assert_array_equal(cache.encode(texts[::-1], refuse), vectors_of(texts[::-1]))
    assert cache.n_encoded == 9000


def test_encoders_do_not_share_vectors(tmp_path: Path) -> None:
    VectorCache(tmp_path, "one", WIDTH).encode(["a"], vectors_of)
    assert not VectorCache(tmp_path, "two", WIDTH).lookup(["a"])[1].any()


def test_another_width_under_the_same_id_is_refused(tmp_path: Path) -> None:
    open_cache(tmp_path)
    with pytest.raises(EncoderMismatchError, match="width 16, expected 8"):
        VectorCache(tmp_path, "tiny_0123", 8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, WIDTH + 1)), r"shape \(2, 17\), expected \(2, 16\)"),
        (np.zeros((1, WIDTH)), r"shape \(1, 16\)"),
        (np.full((2, WIDTH), np.nan), "2 of 2 not finite"),
        (np.full((2, WIDTH), np.inf), "2 of 2 not finite"),
    ],
)
def test_wrong_vectors_are_refused_and_not_stored(
    tmp_path: Path, wrong: NDArray[np.float64], message: str
) -> None:
    cache = open_cache(tmp_path)
    with pytest.raises(SchemaError, match=message):
        cache.encode(["a", "b"], lambda _: wrong.astype(np.float32))
    assert not cache.lookup(["a", "b"])[1].any()
    assert cache.n_encoded == 0


def test_an_encoder_that_fails_leaves_finished_chunks(tmp_path: Path) -> None:
    def fail_at_third(texts: list[str]) -> NDArray[np.float32]:
        if "4" in texts:
            raise RuntimeError("out of memory")
        return vectors_of(texts)

    cache = open_cache(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.encode([str(number) for number in range(8)], fail_at_third, chunk=2)
    assert (
        cache.lookup([str(number) for number in range(8)])[1].tolist() == [True] * 4 + [False] * 4
    )
    cache.encode(["4"], vectors_of)  # the lock was released


def test_threads_encode_a_text_once(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    texts = [str(number) for number in range(200)]
    results: list[NDArray[np.float32]] = []

    def work(seed: int) -> None:
        mine = random.Random(seed).sample(texts, len(texts))
        cache.encode(mine, vectors_of, chunk=20)
        results.append(cache.encode(texts, refuse))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.n_encoded == len(texts)
    assert len(results) == 4
    assert all(np.array_equal(result, vectors_of(texts)) for result in results)


# Processes

Process = subprocess.Popen[str]


@contextmanager
def writer(
    folder: Path, *, first: int = 0, n: int, chunk: int, options: tuple[str, ...] = ()
) -> Iterator[Process]:
    """A process that encodes the texts first .. first + n once it is told to go."""
    program = Path(__file__).with_name("cache_writer.py")
    arguments = [str(folder), str(first), str(n), str(chunk), *options]
    with subprocess.Popen(
        [sys.executable, str(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert read_line(process) == "ready"
            yield process
        finally:
            process.kill()


def read_line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def run_until_killed(folder: Path, n: int, n_chunks: int, moment_s: float) -> int:
    """Kill -9 a writer some moment after its n-th chunk began; how many chunks had begun."""
    with writer(folder, n=n, chunk=32) as process:
        go(process)
        assert [read_line(process) for _ in range(n_chunks)] == ["chunk"] * n_chunks
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=moment_s)
        process.send_signal(signal.SIGKILL)
        assert process.stdout is not None
        n_begun = n_chunks + process.stdout.read().count("chunk")
        assert process.wait() == -signal.SIGKILL
    return n_begun


def test_kill_at_any_moment_loses_one_chunk_and_tears_nothing(tmp_path: Path) -> None:
    texts = [str(number) for number in range(50_000)]
    chance = random.Random(0)
    n_stored = 0
    for n_chunks in (1, 1, 2, 3, 5, 9):
        # Somewhere in encoding, hashing, writing the journal, the commit.
        n_begun = run_until_killed(tmp_path, len(texts), n_chunks, chance.uniform(0, 0.02))
        vectors, found = open_cache(tmp_path).lookup(texts)
        np.testing.assert_array_equal(vectors[found], vectors_of(texts)[found])
        assert found.sum() - n_stored in (32 * (n_begun - 1), 32 * n_begun)
        n_stored = int(found.sum())
    cache = open_cache(tmp_path)
    np.testing.assert_array_equal(cache.encode(texts[:5000], vectors_of), vectors_of(texts[:5000]))
    with closing(sqlite3.connect(cache.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_processes_encode_a_text_once(tmp_path: Path) -> None:
    with (
        writer(tmp_path, first=0, n=1500, chunk=50) as one,
        writer(tmp_path, first=500, n=1500, chunk=50) as other,
    ):
        go(one)
        go(other)
        outputs = [process.communicate()[0] for process in (one, other)]
        assert [process.returncode for process in (one, other)] == [0, 0]
    assert sum(int(output.splitlines()[-1]) for output in outputs) == 2000
    texts = [str(number) for number in range(2000)]
    np.testing.assert_array_equal(open_cache(tmp_path).encode(texts, refuse), vectors_of(texts))


@contextmanager
def held_in_encoding(folder: Path) -> Iterator[Process]:
    """A process that has begun to encode the texts 0 .. 99 and goes on when it is told."""
    with writer(folder, n=100, chunk=100, options=("hold",)) as process:
        go(process)
        assert read_line(process) == "chunk"
        yield process


@contextmanager
def encoding_beside(cache: VectorCache, texts: list[str]) -> Iterator[list[str]]:
    """Encodes in a thread, which has ended behind the block; what it was asked to encode."""
    asked: list[str] = []
    results: list[NDArray[np.float32]] = []

    def encode(new: list[str]) -> NDArray[np.float32]:
        asked.extend(new)
        return vectors_of(new)

    thread = threading.Thread(target=lambda: results.append(cache.encode(texts, encode)))
    thread.start()
    yield asked
    thread.join()
    np.testing.assert_array_equal(results[0], vectors_of(texts))


def test_a_process_encodes_while_another_does(tmp_path: Path) -> None:
    cache, texts = open_cache(tmp_path), [str(number) for number in range(50, 150)]
    with held_in_encoding(tmp_path) as other:
        others = [f"other {number}" for number in range(200)]
        np.testing.assert_array_equal(cache.encode(others, vectors_of), vectors_of(others))
        with encoding_beside(cache, texts) as asked:
            wait_until(lambda: cache.lookup(["149"])[1].all(), "its own half")
            assert not cache.lookup(["50"])[1].any()
            go(other)
        assert sorted(asked, key=int) == texts[50:], "the other half was the other's"
        assert other.communicate()[0].split() == ["100"]


def test_what_a_killed_process_had_begun_is_taken_over(tmp_path: Path) -> None:
    cache, texts = open_cache(tmp_path), [str(number) for number in range(100)]
    with held_in_encoding(tmp_path) as other, encoding_beside(cache, texts) as asked:
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert sorted(asked, key=int) == texts
    assert not list((tmp_path / "tiny_0123.owners").iterdir()), "no file is left of the dead"


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path: Path) -> None:
    """A file that may not grow beyond 300 kB: what was stored before stays, and nothing is torn."""
    program = Path(__file__).with_name("cache_writer.py")
    command = [sys.executable, str(program), str(tmp_path), "0", "9000", "500"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 300; exec "$@"', "bash", *command],
        input="go\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    said = done.stderr.strip().splitlines()[-1]
    assert "StoreUnavailableError" in said and "Check the permissions and the free space" in said
    cache, texts = open_cache(tmp_path), [str(number) for number in range(9000)]
    vectors, found = cache.lookup(texts)
    assert 0 < found.sum() < 9000
    np.testing.assert_array_equal(vectors[found], vectors_of(texts)[found])
    np.testing.assert_array_equal(cache.encode(texts, vectors_of), vectors_of(texts))
    assert cache.n_encoded == 9000 - found.sum()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    run_until_killed(tmp_path, n=10_000, n_chunks=1, moment_s=0)
    open_cache(tmp_path).encode(["another"], vectors_of)


# Damage

TEXTS = [str(number) for number in range(300)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    open_cache(folder).encode(TEXTS, vectors_of)
    return folder


def damaged_copy(filled: Path, folder: Path) -> Path:
    return shutil.copy(filled / "tiny_0123.sqlite", folder / "tiny_0123.sqlite")


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_a_truncated_file_is_set_aside_and_its_texts_encoded_again(
    filled: Path, tmp_path: Path, kept: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = damaged_copy(filled, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with caplog.at_level(logging.WARNING):
        found = open_cache(tmp_path).encode(TEXTS, vectors_of)
    np.testing.assert_array_equal(found, vectors_of(TEXTS))
    assert "damaged" in caplog.text and str(path) in caplog.text
    assert (tmp_path / "tiny_0123.sqlite.damaged0").exists()
    np.testing.assert_array_equal(open_cache(tmp_path).encode(TEXTS, refuse), vectors_of(TEXTS))


def test_a_file_that_is_no_cache_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "tiny_0123.sqlite").write_bytes(b"not a database" * 100)
    np.testing.assert_array_equal(open_cache(tmp_path).encode(TEXTS, vectors_of), vectors_of(TEXTS))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vector SET value = zeroblob(length(value))",
        "UPDATE vector SET value = substr(value, 1, 60)",
        "UPDATE vector SET value = NULL",
        "UPDATE vector SET value = (SELECT value FROM vector v WHERE v.rowid > vector.rowid), "
        "crc = (SELECT crc FROM vector v WHERE v.rowid > vector.rowid)",
        "UPDATE vector SET crc = NULL",
    ],
)
def test_a_vector_that_fails_its_checksum_is_encoded_again(
    filled: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = damaged_copy(filled, tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"{damage} WHERE rowid <= 100")
    cache = open_cache(tmp_path)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(cache.encode(TEXTS, vectors_of), vectors_of(TEXTS))
    assert cache.n_encoded == 100
    assert "100 records fail their checksum" in caplog.text
    cache.encode(TEXTS, refuse)


def require_no_wrong_vector(folder: Path, content: bytes) -> None:
    """A damaged cache is refused by name, or every vector asked of it is right."""
    (folder / "tiny_0123.sqlite").write_bytes(content)
    try:
        some = open_cache(folder).encode(TEXTS[::7], vectors_of)
        found = open_cache(folder).encode(TEXTS, vectors_of)
    except (StoreUnavailableError, EncoderMismatchError) as error:
        assert "tiny_0123.sqlite" in str(error)
    else:
        np.testing.assert_array_equal(some, vectors_of(TEXTS[::7]))
        np.testing.assert_array_equal(found, vectors_of(TEXTS))


@settings(max_examples=30)
@given(data=st.data())
def test_no_damage_to_the_file_gives_a_wrong_vector(filled: Path, data: st.DataObject) -> None:
    content = bytearray((filled / "tiny_0123.sqlite").read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[at] ^= data.draw(st.integers(1, 255))
    with TemporaryDirectory() as folder:
        require_no_wrong_vector(Path(folder), bytes(content))


def test_no_byte_of_the_files_structure_gives_a_wrong_vector(filled: Path) -> None:
    """Header of the file; of each page, of table, index, claims and free ones, the header."""
    content = (filled / "tiny_0123.sqlite").read_bytes()
    pages = {at + n for at in range(0, len(content), 8192) for n in range(8)}
    for at in sorted({*range(72), *range(92, 108), *pages}):
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        with TemporaryDirectory() as folder:
            require_no_wrong_vector(Path(folder), bytes(damaged))


def test_an_index_that_leads_to_another_row_gives_no_vector(filled: Path, tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    path = damaged_copy(filled, tmp_path)
    keys = sorted(text_keys(cache.encoder_id, TEXTS))
    others = (f"other {number}" for number in range(100_000))
    # A key between the neighbours of one that is there takes its place in the index.
    new, at = next(
        (text, at)
        for text in others
        if 0 < (at := bisect(keys, *text_keys(cache.encoder_id, [text]))) < len(keys)
        and index_of(path.read_bytes(), keys[at]) is not None
    )
    content = bytearray(path.read_bytes())
    place = index_of(bytes(content), keys[at])
    (content[place : place + 32],) = text_keys(cache.encoder_id, [new])
    path.write_bytes(content)
    assert not cache.lookup([new])[1].any()
    np.testing.assert_array_equal(
        cache.encode([new, *TEXTS], vectors_of), vectors_of([new, *TEXTS])
    )


def index_of(content: bytes, key: bytes) -> int | None:
    """Where a key stands in a leaf of the index; None where it stands in an inner page."""
    places = [found.start() for found in re.finditer(re.escape(key), content)]
    return next((at for at in places if content[at // 8192 * 8192] == 0x0A), None)


@pytest.mark.parametrize("owner", ["X'ff00'", "NULL", "'../../elsewhere'", "7"])
def test_a_damaged_claim_is_void(filled: Path, tmp_path: Path, owner: str) -> None:
    cache = open_cache(tmp_path)
    path = damaged_copy(filled, tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        (key,) = text_keys(cache.encoder_id, ["new"])
        connection.execute(f"INSERT INTO claim VALUES (?, {owner})", (key,))
    np.testing.assert_array_equal(cache.encode(["new"], vectors_of), vectors_of(["new"]))


@pytest.mark.parametrize("content", [b"", b"no journal" * 100, bytes.fromhex("d9d505f920a163d7")])
def test_a_journal_that_is_not_whole_changes_nothing(
    filled: Path, tmp_path: Path, content: bytes
) -> None:
    path = damaged_copy(filled, tmp_path)
    path.with_name(f"{path.name}-journal").write_bytes(content)
    np.testing.assert_array_equal(open_cache(tmp_path).encode(TEXTS, refuse), vectors_of(TEXTS))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny_0123.sqlite").mkdir()
    with pytest.raises(StoreUnavailableError, match=r"tiny_0123\.sqlite"):
        open_cache(tmp_path)


def test_with_the_real_encoder(minilm: TransformerEncoder, tmp_path: Path) -> None:
    identity = describe_encoder(MINILM)
    cache = VectorCache(tmp_path, identity.encoder_id, identity.dimension)
    texts = ["Heat", "Alien", "Heat", ""]
    first = cache.encode(texts, minilm.encode)
    again = VectorCache(tmp_path, identity.encoder_id, identity.dimension).encode(texts, refuse)
    np.testing.assert_array_equal(first, again)
    assert cache.n_encoded == 3
    np.testing.assert_allclose(first, minilm.encode(texts), atol=2e-6)
