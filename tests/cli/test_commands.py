"""The command group: every command is found, and help loads none of them."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import _COMMANDS, main
from tests.datasets import make_films
from tests.intake.test_journal import largest_file

HEAVY = {"feast", "fastapi", "pandas", "polars", "pyarrow", "sklearn", "torch", "transformers"}
SHOW_HELP = """
import json, sys
from cli import main
main(["--help"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
ON_A_DATASET = """
run, demo, prepare, training-set, train, tune, tune-encoder, evaluate, refresh full, recommend u1,
recommend --all --out x, serve, rehearse, models list, write, ingest ., backup x, forget u1,
export u1 --out x, audit leakage, audit skew, doctor, redis status, env
"""
MISSPELT = "unknown key nam"
REFUSED = """
import json, sys
from click.testing import CliRunner
from cli import main
heavy = {"feast", "torch", "pandas", "scipy"}
refused = {}
for command in sys.argv[1].split(","):
    done = CliRunner().invoke(main, [*command.split(), "--dataset", sys.argv[2]])
    refused[command] = done.output, sorted(heavy & set(sys.modules))
print(json.dumps(refused))
"""


def test_help_names_every_command_and_loads_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in _COMMANDS)
    assert not HEAVY & set(json.loads(done.stderr))


def test_a_wrong_dataset_is_refused_before_anything_heavy_is_loaded(tmp_path: Path) -> None:
    """A slip of the pen is told in half a second; loading Feast and torch takes five."""
    wrong = tmp_path / "dataset.toml"
    wrong.write_text("nam = 'shop'\n", encoding="utf-8")
    script = [sys.executable, "-c", REFUSED, ON_A_DATASET, str(wrong)]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    refused: dict[str, tuple[str, list[str]]] = json.loads(done.stdout)
    assert {name: output for name, (output, _) in refused.items() if MISSPELT not in output} == {}
    assert {name: heavy for name, (_, heavy) in refused.items() if heavy} == {}


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_loads_under_its_name_and_has_a_help(name: str) -> None:
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None and command.name == name
    assert command.get_help(click.Context(command, parent=context))


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(click.UsageError, match="No such command 'nosuch'"):
        main(["nosuch"], standalone_mode=False)


def test_a_slip_of_the_pen_names_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"'recomend'. Did you mean 'recommend'\?"):
        main(["recomend"], standalone_mode=False)
    absent = ["--dataset", str(tmp_path / "no.toml")]
    answer = CliRunner().invoke(main, ["recommend", "u1", "--n", "5", *absent])
    assert "no such file" in answer.output  # --n is an option


def test_a_user_whose_id_begins_with_a_dash_is_given_after_two(tmp_path: Path) -> None:
    absent = ["--dataset", str(tmp_path / "no.toml")]
    answer = CliRunner().invoke(main, ["recommend", *absent, "-15"], prog_name="feast-fusion")
    assert answer.exit_code == 2
    assert "got -15, which reads as an option, expected an id" in answer.output
    assert "feast-fusion recommend -- -15" in " ".join(answer.output.split())
    answer = CliRunner().invoke(main, ["recommend", *absent, "--", "-15"])
    assert answer.exit_code == 1  # it goes on to the data set
    assert "no such file" in answer.output
    answer = CliRunner().invoke(main, ["recommend", *absent, "--quary", "x", "15"])
    assert "No such option" in answer.output and "--query" in answer.output


def test_a_model_that_is_not_there_is_told_before_anything_is_prepared(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    text = description.read_text().replace("all-MiniLM-L6-v2", "no-such-model")
    description.write_text(text)
    home = tmp_path / "home"
    options = ["--dataset", str(description), "--home", str(home)]
    answer = CliRunner().invoke(main, ["prepare", *options])
    assert answer.exit_code == 1
    assert "no-such-model" in answer.output and "Hugging Face hub" in answer.output
    assert not list(home.rglob("*.parquet"))


@pytest.mark.parametrize("command", ["prepare", "run", "serve", "recommend", "redis"])
def test_a_home_that_cannot_be_used_ends_in_one_line(tmp_path: Path, command: str) -> None:
    description = make_films(tmp_path, n_users=3, n_items=3, n_events=9)
    (tmp_path / "home").write_text("a file where a folder should be")
    arguments = {"recommend": ["u1"], "redis": ["start"], "serve": ["--port", "0"]}
    group = [command, *arguments.get(command, [])]
    options = ["--dataset", str(description), "--home", str(tmp_path / "home")]
    answer = CliRunner().invoke(main, [*group, *options])
    assert answer.exit_code == 1, answer.output
    said = [line for line in answer.output.splitlines() if "Error" in line]
    assert len(said) == 1 and str(tmp_path / "home") in said[0], answer.output


def test_a_full_disk_ends_in_one_line(tmp_path: Path) -> None:
    description = make_films(tmp_path, n_users=9, n_items=9, n_events=90)
    options = ["--dataset", str(description), "--home", str(tmp_path / "home")]
    with largest_file(100):
        answer = CliRunner().invoke(main, ["prepare", *options])
    assert answer.exit_code == 1, answer.output
    assert "Error: " in answer.output and "Raise the limit of a file's size" in answer.output
    assert CliRunner().invoke(main, ["prepare", *options]).exit_code == 0
