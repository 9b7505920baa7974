"""What `feast-fusion serve` refuses before it loads anything."""

import socket

from click.testing import CliRunner

from cli import main
from tests.conftest import Project


def test_refuses_to_listen_beyond_this_machine_without_a_key(films: Project) -> None:
    for host in ("0.0.0.0", "::", "", "example.org"):
        refused = serve(films, "--host", host)
        assert "others can reach" in refused
        assert "--insecure" in refused
    assert "ABSENT_KEY" in serve(films, "--api-key-env", "ABSENT_KEY")


def test_a_taken_port_is_named(films: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = serve(films, "--port", port)
    assert f"127.0.0.1:{port}" in refused
    assert "Address already in use" in refused


def serve(project: Project, *options: str) -> str:
    """What `feast-fusion serve` says before it ends with an error."""
    workspace = project.workspace
    where = ["--dataset", str(workspace.dataset.path), "--home", str(workspace.home)]
    done = CliRunner().invoke(main, ["serve", *where, *options])
    assert done.exit_code == 1
    return done.stderr
