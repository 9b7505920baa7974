import subprocess
import sys
from pathlib import Path

import pytest

from feast_fusion.files import private_folder, recover_folder, replaced_file, replaced_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from feast_fusion import files

rename = Path.rename
def rename_once(path, target):
    rename(path, target)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = rename_once
with files.replaced_folder(Path(sys.argv[1])) as building:
    (building / "a").write_text("new")
"""


COUNTING = """
import sys
from pathlib import Path
from feast_fusion.files import replaced_folder

folder = Path(sys.argv[1])
for _ in range(int(sys.argv[2])):
    with replaced_folder(folder) as building:
        counted = folder / "n"
        n = int(counted.read_text()) if counted.is_file() else 0
        (building / "n").write_text(str(n + 1))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_when_the_block_succeeds(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "deep" / "file"
    for content in ("old", "new"):
        with replaced_file(path, sync=sync) as building:
            building.write_text(content)
    assert path.read_text() == "new"
    assert names(path.parent) == ["file"]


def test_a_failed_block_leaves_file_and_folder_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    for replaced in (replaced_file(tmp_path / "file"), replaced_folder(tmp_path / "folder")):
        with pytest.raises(ValueError, match="disk"), replaced as building:
            (building / "a" if building.is_dir() else building).write_text("new")
            raise ValueError("disk")
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "a").read_text() == "old"
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with replaced_folder(tmp_path / "folder") as building:
            (building / name).write_text(name)
    assert names(tmp_path / "folder") == ["b"]
    assert names(tmp_path) == ["folder"]


def test_what_a_killed_process_had_built_is_gone_after_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    code = (
        "import os, sys; from pathlib import Path; from feast_fusion.files import replaced_folder\n"
        "with replaced_folder(Path(sys.argv[1])) as building:\n"
        "    (building / 'half').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert names(tmp_path) == [".folder.lock", ".folder.new.tmp"]
    with replaced_folder(folder) as building:
        assert names(building) == []
    assert names(tmp_path) == ["folder"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert killed.returncode == -9
    assert not folder.exists()
    recover_folder(folder)
    assert (folder / "a").read_text() == "old"
    with replaced_folder(folder) as building:
        (building / "a").write_text("new")
    assert (folder / "a").read_text() == "new"


def test_one_process_at_a_time_builds_and_leaves_no_lock(tmp_path: Path) -> None:
    """Each adds one to what it finds: two at once would count the same twice."""
    folder = tmp_path / "folder"
    command = [sys.executable, "-c", COUNTING, str(folder), "60"]
    counting = [subprocess.Popen(command) for _ in range(3)]
    assert [each.wait() for each in counting] == [0, 0, 0]
    assert (folder / "n").read_text() == "180"
    assert names(tmp_path) == ["folder"]


def test_what_is_made_of_a_private_folder_and_above_it_is_its_owners(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_folder(tmp_path / "home" / "shop" / "redis")
    for folder in ("home", "home/shop", "home/shop/redis"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    (tmp_path / "home" / "shop").chmod(0o750)  # as somebody has chosen it
    private_folder(tmp_path / "home" / "shop")
    assert (tmp_path / "home" / "shop").stat().st_mode & 0o777 == 0o750
