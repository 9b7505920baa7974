"""A Redis that does not answer: asked once and first, and named as it was set."""

import pytest

from tests.conftest import Project
from tests.serving.http.service_process import copy_project

AWAY = "redis://:secret@127.0.0.1:1"
NEEDING = (
    "run",
    "refresh incremental",
    "refresh hybrid",
    "audit skew",
    "recommend --all --out {folder}/answers",
    "ingest {folder}",
    "forget u1 --yes",
    "export u1 --out {folder}/u1",
)


@pytest.fixture(scope="module")
def copied(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("away") / "home")


def test_what_needs_it_ends_in_one_line_before_anything_is_done(
    copied: Project, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.setenv("REDIS_URL", AWAY)
    before = copied.workspace.read_stamp()
    for asked in NEEDING:
        said = copied.here(*asked.format(folder=folder).split(), fails=True)
        (line,) = said.stderr.splitlines()
        assert line.startswith("Error: REDIS_URL: got Error 111 connecting to 127.0.0.1:1"), asked
        assert "unset it" in line and "secret" not in line
        assert said.stdout == "", asked
    assert copied.workspace.read_stamp() == before
    assert not list(folder.iterdir())
    lines = copied.here("doctor", fails=True).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("broken")]
    assert "REDIS_URL: got" in line and "secret" not in line


def test_an_answer_is_by_popularity_and_says_why_once(copied: Project) -> None:
    said = copied.run("recommend", "u1", "-n", "3", REDIS_URL=AWAY)
    first, *others = said.stdout.splitlines()
    assert first.startswith("By popularity alone, since the Redis of REDIS_URL does not answer")
    assert "127.0.0.1:1" in first and "secret" not in said.stdout + said.stderr
    assert any(line.startswith("  3. ") for line in others)
    assert said.stderr == ""
