"""A day of a data set as a DAG of Airflow: refreshed, trained, rehearsed, promoted unless worse.

Put this file into the folder of DAGs. The workers need the command feast-fusion (FEAST_FUSION names
it where it is not on PATH) and, as everywhere, FUSION_DATASET, FUSION_HOME and REDIS_URL.

Every task can be repeated: what is done is not done again, a training that was killed goes on after
its last epoch, and a version that answers is promoted once more without effect. A worker that is
lost therefore costs a retry, not a day.
"""

import json
import logging
import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowSkipException

_log = logging.getLogger(__name__)


def fusion(*arguments: str) -> dict[str, Any]:
    """What `feast-fusion ARGUMENTS --json` did; its messages go to the log of the task."""
    command = [os.environ.get("FEAST_FUSION", "feast-fusion"), *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stdout}")
    did: dict[str, Any] = json.loads(done.stdout)
    return did


def say_failure(context: Any) -> None:
    """Called when a task has failed for the last time; put your pager here."""
    _log.error("%s failed: %s", context["task_instance"].task_id, context.get("exception"))


@dag(
    schedule="15 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # one run brings up to date, however many days were missed
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=4),
        "on_failure_callback": say_failure,
    },
    tags=["feast-fusion"],
)
def feast_fusion_daily() -> None:
    """Prepare, refresh, train, rehearse, promote unless worse, tell."""

    @task
    def prepare() -> None:
        """New files and live events into the sources; rejected rows are counted in the log."""
        fusion("prepare")

    @task
    def refresh() -> None:
        """Sinks and Redis follow the sources, all of them anew once a day."""
        fusion("refresh", "hybrid")

    @task
    def train() -> str:
        """The version of the model that was trained on what is prepared now."""
        fusion("training-set")
        return str(fusion("train")["version"])

    @task
    def rehearse(version: str) -> dict[str, Any]:
        """What the version and the one that answers would have answered when users chose."""
        found = fusion("rehearse", "--model", version)
        return {
            "version": version,
            "verdict": found["verdict"],
            "differences": found["differences"],
        }

    @task
    def promote(rehearsal: dict[str, Any]) -> None:
        """Services take it up within seconds. A version that is worse stays where it is."""
        if rehearsal["verdict"] == "worse":
            raise AirflowSkipException(f"{rehearsal['version']} answers worse: not promoted")
        fusion("models", "promote", rehearsal["version"])

    @task(trigger_rule="none_failed")
    def notify(rehearsal: dict[str, Any]) -> None:
        """One line in the log; put your chat or mail here."""
        _log.info("Model %(version)s: %(verdict)s, %(differences)s", rehearsal)

    version = train()
    rehearsal = rehearse(version)
    prepare() >> refresh() >> version
    promote(rehearsal) >> notify(rehearsal)


feast_fusion_daily()
