"""A command in a message is what the reader can type where the message was read."""

import sys
from pathlib import Path

import click
import pytest

from cli import main
from cli.suggested import _OF_TWO_WORDS, as_typed, note_given
from tests.conftest import Project

RUN = click.Command("run", params=[click.Option(["--dataset"]), click.Option(["--home"])])
CALLED = [
    (["--dataset", "my data.toml"], {}, " --dataset 'my data.toml'"),
    (["--home", "h", "--dataset", "d"], {}, " --dataset d --home h"),
    ([], {"dataset": "of a variable"}, ""),
]
TEXTS = [
    ("Next: feast-fusion recommend USER.", "Next: feast-fusion recommend USER{}."),
    ("feast-fusion recommend 100, or", "feast-fusion recommend 100{}, or"),
    ("Run feast-fusion refresh full; if", "Run feast-fusion refresh full{}; if"),
    ("feast-fusion models promote 0123456789ab.", "feast-fusion models promote 0123456789ab{}."),
    ("feast-fusion train, feast-fusion run", "feast-fusion train{0}, feast-fusion run{0}"),
    ('eval "$(feast-fusion env)"', 'eval "$(feast-fusion env{})"'),
    ("feast-fusion run --dataset x", "feast-fusion run --dataset x"),
    ("feast-fusion init FILES", "feast-fusion init FILES"),
    ("this version of feast-fusion and files", "this version of feast-fusion and files"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
@pytest.mark.parametrize(("given", "defaults", "options"), CALLED)
def test_options_that_were_given_are_given_again(
    given: list[str], defaults: dict[str, str], options: str, text: str, expected: str
) -> None:
    with click.Context(main) as root:
        with RUN.make_context("run", [*given], parent=root, default_map=defaults) as context:
            note_given(context, "dataset", "home")
        assert as_typed(text) == expected.format(options), "also once the command has ended"


def test_the_words_of_groups_are_known() -> None:
    groups = [
        name
        for name in main.list_commands(click.Context(main))
        if isinstance(main.get_command(click.Context(main), name), click.Group)
    ]
    assert sorted({*groups, "refresh"}) == sorted(_OF_TWO_WORDS)


def test_the_program_is_where_it_was_called_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "my env" / "bin" / "feast-fusion"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    with click.Context(main):
        for folder, expected in (
            (tmp_path, "'my env/bin/feast-fusion'"),
            (program.parent, "./feast-fusion"),
            (Path("/usr"), f"'{program}'"),
        ):
            monkeypatch.chdir(folder)
            assert as_typed("feast-fusion run") == f"{expected} run"
        monkeypatch.setenv("PATH", str(program.parent))
        assert as_typed("feast-fusion run") == "feast-fusion run"
        monkeypatch.setattr(sys, "argv", ["pytest"])
        monkeypatch.setenv("PATH", "/nowhere")
        assert as_typed("feast-fusion run") == "feast-fusion run"


def test_errors_and_next_steps_have_them(films: Project, tmp_path: Path) -> None:
    dataset, home = str(films.workspace.dataset.path), str(tmp_path / "home")
    said = films.here("recommend", "u1", "--home", home, fails=True)
    assert f"Run feast-fusion run --home {home}, or name" in said.stderr
    said = films.here("redis", "status", "--dataset", dataset)
    assert f"Start: feast-fusion redis start --dataset {dataset}." in said.stdout
