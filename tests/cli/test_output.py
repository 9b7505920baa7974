"""What commands print: nothing but what is meant, and by --json one object."""

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli import main
from cli.terminal import progress_bar
from tests.conftest import Project
from tests.serving.http.service_process import copy_project, service_process
from tests.trained import add_other_version

COMMAND = str(Path(sys.executable).parent / "feast-fusion")
FOR_PROGRAMS = {"env", "bench"}  # a shell evaluates the one, the other is a table of figures
ELSEWHERE = {"demo", "run", "serve", "write", "audit skew"}  # tests of their own; demo is a run
JSON_IS_A_FILE = {"bench", "evaluate", "tune-encoder"}  # --json PATH, with every figure
POSTED = '{"user_id": "u1", "item_id": "f1", "event_timestamp": "2026-05-01T10:00:00Z"}'
# Those that take less than a minute on a data set that was run; the order matters.
QUICK = (
    "prepare",
    "training-set",
    "train --set ranker.epochs=1",
    "tune --of ranker --trials 1",
    "audit leakage --rows 20",
    "models list",
    "models promote {other}",
    "models rollback",
    "models show {other}",
    "models delete {other}",
    "rehearse --limit 20",
    "recommend u1 -n 2",
    "recommend --all --out {folder}/answers -n 2",
    "redis start",
    "redis status",
    "doctor",
    "refresh incremental",
    "redis stop",
    "cache stats",
    "cache verify",
    "cache compact",
    "tables compact",
    "tables expire",
    "backup {folder}/backup.tar",
    "export u1 --out {folder}/u1",
    "ingest {folder}/log",
    "forget u1",
    "restore {folder}/backup.tar --home {folder}/restored",
    "init {data} --yes --name films --out {folder}/dataset.toml",
)


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name."""
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            assert found is not None
            yield from leaves(found, f"{name} {each}".strip())
    else:
        yield name, command


def test_every_command_can_be_quiet_and_speak_json() -> None:
    for name, command in leaves(main, ""):
        flags = {flag for parameter in command.params for flag in parameter.opts}
        assert name in FOR_PROGRAMS or {"--quiet", "--json"} <= flags, name
        (speaks,) = [p for p in command.params if "--json" in p.opts] or [None]
        is_flag = isinstance(speaks, click.Option) and speaks.is_flag
        assert is_flag or name in JSON_IS_A_FILE | FOR_PROGRAMS, name


def test_what_every_command_prints_is_looked_at() -> None:
    looked_at = [f"{asked} " for asked in QUICK]
    for name in {name for name, _ in leaves(main, "")} - FOR_PROGRAMS - JSON_IS_A_FILE - ELSEWHERE:
        assert any(asked.startswith(f"{name} ") for asked in looked_at), name


@pytest.fixture(scope="module")
def copied(films: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return copy_project(films, tmp_path_factory.mktemp("output") / "home")


def test_a_service_says_where_it_listens_and_its_audit_what_it_served(
    copied: Project, tmp_path: Path
) -> None:
    options = ("--json", "--log-served", "1")
    with service_process(copied, tmp_path / "log", *options) as running:
        address = f"http://127.0.0.1:{running.service.port}"
        assert json.loads(running.said) == {"dataset": "films", "address": address}
        assert running.service.post("/recommend", {"user_id": "u2", "n": 2}).status == 200
        assert running.stop() == 0
        assert running.process.stdout is not None and running.process.stdout.read() == ""
    assert f"Serving films at {address}" in running.log.read_text()
    said = copied.here("audit", "skew", "--json")
    facts = json.loads(said.stdout)
    assert facts["is_clean"] and facts["n_rows"] == 2, "what the service asks itself is in no log"
    assert f"0 mismatches in {facts['n_rows']} served rows" in said.stderr


def test_stdout_is_one_json_object(copied: Project, tmp_path: Path) -> None:
    places = {
        "other": add_other_version(copied.workspace),
        "folder": str(tmp_path),
        "data": str(copied.workspace.dataset.path.parent),
    }
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "posted.jsonl").write_text(POSTED)
    for asked in QUICK:
        arguments = [word.format(**places) for word in asked.split()]
        said = copied.here(*arguments, "--json")
        facts = json.loads(said.stdout)
        assert isinstance(facts, dict) and facts, asked
        assert "error" not in facts
        assert said.stderr, f"{asked}: the words are there too"


@pytest.mark.parametrize("asked", ["prepare", "models list", "recommend u1", "doctor"])
def test_quiet_says_nothing(copied: Project, asked: str) -> None:
    said = copied.here(*asked.split(), "--quiet")
    assert (said.stdout, said.stderr) == ("", "")


def test_an_error_says_what_happened(copied: Project) -> None:
    for options in ([], ["--quiet"], ["--json"]):
        said = copied.here("models", "show", "nope", *options, fails=True)
        (line,) = said.stderr.splitlines()
        assert line.startswith("Error: model 'nope': got 0 versions"), "and no name of a class"
        printed = json.dumps({"error": line.removeprefix("Error: ")}) + "\n"
        assert said.stdout == (printed if options == ["--json"] else "")


def test_a_command_of_ours_does_not_pass_on_the_noise_of_feast(copied: Project) -> None:
    said = copied.run("run", "--json")
    facts = json.loads(said.stdout)
    assert facts["report"] == str(copied.workspace.report) and facts["test_auc"] > 0.5
    words = said.stderr
    assert not {"\x1b", "\r"} & {*words}, "no colours and no bars in a file"
    noise = ("Applying changes", "Deploying infrastructure", "Materializing", "INFO", "Warning")
    assert not [word for word in noise if word in words]
    next_step, report = words.splitlines()[-2:]
    assert next_step.startswith("Next: ") and next_step.endswith("feast-fusion recommend USER")
    assert report == f"Report: {copied.workspace.report}"


def at_a_terminal(copied: Project, **variables: str) -> str:
    """What `prepare` writes to a terminal."""
    ours, theirs = pty.openpty()
    home, dataset = copied.workspace.home, copied.workspace.dataset.path
    names = os.environ | {"FUSION_HOME": str(home), "FUSION_DATASET": str(dataset)} | variables
    with os.fdopen(ours, "rb") as read:
        done = subprocess.Popen([COMMAND, "prepare"], stdout=theirs, stderr=theirs, env=names)
        os.close(theirs)
        seen = b""
        try:
            while piece := read.read1(4096):  # type: ignore[attr-defined]
                seen += piece
        except OSError:  # its end, as Linux tells it
            pass
        assert done.wait() == 0
    return seen.decode()


def test_colour_is_for_terminals_that_want_it(copied: Project) -> None:
    assert "\x1b[36mNext: " in at_a_terminal(copied)
    plain = at_a_terminal(copied, NO_COLOR="1")
    assert "Next: " in plain and "\x1b[3" not in plain


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_tells_how_far_how_fast_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, clock = _Terminal(), [1000.0]
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    with progress_bar("Encoding") as advance:
        assert "Encoding: " in shown.getvalue(), "before the first batch is done"
        clock[0] += 9
        advance("items", 1, 4)
    assert "Encoding: items:  25% 1/4 [00:09<00:27,  9.00s/it]" in shown.getvalue()


def test_no_bar_goes_into_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Encoding") as advance:
        advance("items", 1, 4)
    assert capsys.readouterr().err == ""


def test_version_names_feast_and_the_model(copied: Project) -> None:
    program, feast, model = copied.here("--version").stdout.splitlines()
    assert program.startswith("feast-fusion 0.") and feast.startswith("Feast 0.")
    listed = json.loads(copied.here("models", "list", "--json").stdout)["versions"]
    (answers,) = [each["name"] for each in listed if each["share"]]
    assert model == f"model {answers} of films"


def test_version_needs_no_data_set(tmp_path: Path) -> None:
    nowhere = {"FUSION_DATASET": str(tmp_path / "none.toml"), "FUSION_HOME": str(tmp_path)}
    said = CliRunner().invoke(main, ["--version"], env=nowhere)
    assert said.exit_code == 0 and "model unknown" in said.stdout


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        variables = os.environ | asked | {"_FEAST_FUSION_COMPLETE": "bash_complete"}
        done = subprocess.run([COMMAND], env=variables, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert completed("feast-fusion rest") == ["plain,restore"]
    assert completed("feast-fusion models pro") == ["plain,promote"]
    assert completed("feast-fusion prepare --qu") == ["plain,--quiet"]
