"""Who was forgotten is known to every process, and to nobody who has the files alone."""

import pyarrow as pa

from intake.tombstones import Tombstones
from tests.waiting import wait_until


def test_another_process_knows_within_a_moment_and_no_file_names_anybody(tmp_path) -> None:
    folder = tmp_path / "forgotten"
    here, there = Tombstones(folder), Tombstones(folder)
    assert "visitor-8c41f2" not in there
    here.add("visitor-8c41f2")
    assert "visitor-8c41f2" in here
    wait_until(lambda: "visitor-8c41f2" in there)
    here.add("u2")  # within the same tick of a coarse clock
    wait_until(lambda: "u2" in there)
    ids = pa.array(["u1", "u2", None, "visitor-8c41f2", "u1"])
    assert there.select(ids).tolist() == [False, True, False, True, False]
    for path in folder.rglob("*"):
        assert "visitor" not in path.name
        assert path.is_dir() or b"visitor" not in path.read_bytes()
    assert (folder / "key").stat().st_mode & 0o077 == 0
    assert Tombstones(tmp_path / "other").digest("u2") != here.digest("u2")  # by a key of its own


def test_who_is_lifted_is_known_again(tmp_path) -> None:
    here, there = Tombstones(tmp_path), Tombstones(tmp_path)
    here.add("u1")
    wait_until(lambda: "u1" in there)
    assert here.lift("u1") and not here.lift("u1")
    wait_until(lambda: "u1" not in there)
    assert not there.select(pa.chunked_array([["u1"], ["u2"]])).any()
