"""`feast-fusion doctor` on a whole workspace, and with one thing after another taken away."""

import shutil
from pathlib import Path

import redis
from click.testing import CliRunner

from cli import main
from cli.embedded_redis import embedded_redis
from tests.conftest import Project
from tests.serving.http.service_process import copy_project
from tests.trained import served_folder


def examined(project: Project) -> tuple[int, dict[str, str]]:
    """The exit code, and what is said of each thing (of rows the last line)."""
    workspace = project.workspace
    named = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    done = CliRunner().invoke(main, ["doctor", *named])
    lines = [line.split(None, 2) for line in done.output.splitlines()]
    return done.exit_code, {name: f"{verdict} {what}" for verdict, name, what in lines}


def test_says_what_is_well_and_what_is_not(films: Project, tmp_path: Path) -> None:
    project = copy_project(films, tmp_path / "home")
    workspace = project.workspace
    with embedded_redis(workspace.redis) as server:
        code, said = examined(project)
        assert code == 0, said
        for name in ("home", "sources", "journal", "registry", "encoder", "model", "rows"):
            assert said[name].startswith("ok "), said
        assert said["Redis"].startswith(f"ok {server.version.split()[1]}")
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        code, said = examined(project)
        assert (code, said["rows"][:7]) == (1, "broken ")
        assert "Run feast-fusion refresh full" in said["rows"]
    workspace.home.chmod(0o755)
    shutil.rmtree(served_folder(workspace))
    workspace.manifest.unlink()
    code, said = examined(project)
    assert code == 1
    assert "chmod 700" in said["home"]
    assert "Run feast-fusion prepare" in said["sources"]
    assert said["model"].startswith("broken ") and str(workspace.models) in said["model"]
    assert said["Redis"].startswith("ok not running")
