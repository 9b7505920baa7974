"""The example of Airflow, read by Airflow; its commands are stood in for, not the library."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.deploy.places import ROOT

if TYPE_CHECKING:
    from airflow.sdk import DAG

# It prints what it was asked, and of `rehearse` the verdict that the test wants.
COMMAND = """#!/bin/sh
echo "$@" >> "$ASKED"
case "$1" in
  train) echo '{"version": "v2"}' ;;
  rehearse) echo '{"verdict": "'"$VERDICT"'", "differences": {}}' ;;
  refresh) [ -z "$FAILS" ] || { echo '{"error": "no Redis"}'; exit 1; }; echo '{}' ;;
  *) echo '{}' ;;
esac
"""


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Iterator["DAG"]:
    home = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(home))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(ROOT / "examples" / "airflow"))
        assert bag.import_errors == {}
        assert list(bag.dags) == ["feast_fusion_daily"]
        yield bag.dags["feast_fusion_daily"]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of all that the command was asked."""
    command = tmp_path / "feast-fusion"
    command.write_text(COMMAND)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("FEAST_FUSION", str(command))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return tmp_path / "asked"


def call(daily: "DAG", task: str, *arguments: Any) -> Any:
    return daily.task_dict[task].python_callable(*arguments)


def test_the_tasks_stand_in_a_row(daily: "DAG") -> None:
    follows = {task.task_id: sorted(task.downstream_task_ids) for task in daily.tasks}
    assert follows == {
        "prepare": ["refresh"],
        "refresh": ["train"],
        "train": ["rehearse"],
        "rehearse": ["notify", "promote"],
        "promote": ["notify"],
        "notify": [],
    }


def test_every_task_is_repeated_and_ends(daily: "DAG") -> None:
    assert daily.max_active_runs == 1 and daily.catchup is False
    for task in daily.tasks:
        assert task.retries == 3 and task.execution_timeout is not None
        assert task.on_failure_callback


@pytest.mark.parametrize("verdict", ["better", "no difference shown"])
def test_a_version_that_is_not_worse_is_promoted(
    daily: "DAG", asked: Path, monkeypatch: pytest.MonkeyPatch, verdict: str
) -> None:
    monkeypatch.setenv("VERDICT", verdict)
    version = call(daily, "train")
    call(daily, "promote", call(daily, "rehearse", version))
    assert asked.read_text().splitlines() == [
        "training-set --json",
        "train --json",
        "rehearse --model v2 --json",
        "models promote v2 --json",
    ]


def test_a_version_that_is_worse_is_not(
    daily: "DAG", asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    monkeypatch.setenv("VERDICT", "worse")
    rehearsal = call(daily, "rehearse", "v2")
    with pytest.raises(AirflowSkipException, match="v2"):
        call(daily, "promote", rehearsal)
    assert "promote" not in asked.read_text()
    assert daily.task_dict["notify"].trigger_rule.value == "none_failed", "it tells of that too"


def test_a_command_that_fails_fails_its_task(
    daily: "DAG", asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "yes")
    with pytest.raises(RuntimeError, match=r"exit code 1.*no Redis"):
        call(daily, "refresh")
