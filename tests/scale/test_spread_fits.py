"""The collaborative models fitted by workers of Ray are those that one process fits."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from cli import feast_repository
from feast_fusion.history.ray_runner import RayRunner
from feast_fusion.history.runner import RayRunnerConfig
from intake.workspace import Workspace, open_workspace
from tests.conftest import Project, open_project
from tests.datasets import make_films
from tests.scale.faulty_fits import Fit, KilledOnce, Refused
from tests.transformations.collaborative.logs import random_log
from tests.transformations.test_prepared_sources import add_event, content
from transformations.collaborative.neighbour_fit import NeighbourFit
from transformations.prepared_sources import write_sources


@pytest.fixture
def films(tmp_path: Path) -> Project:
    path = make_films(tmp_path / "films", n_users=20, n_items=30, n_events=900)
    return open_project(path, tmp_path / "home")


@pytest.fixture
def runner(cluster: str) -> RayRunner:
    return RayRunner(RayRunnerConfig(type="ray", address=cluster, encoders=2), None)


@pytest.fixture
def alone(films: Project, tmp_path: Path) -> dict[str, bytes]:
    """What one process makes of the films."""
    workspace = open_workspace(films.workspace.dataset.path, tmp_path / "alone")
    write_sources(workspace)
    return tables(workspace)


def tables(workspace: Workspace) -> dict[str, bytes]:
    files = content(workspace.sources).items()
    return {name: held for name, held in files if name.endswith(".parquet")}


def test_a_killed_worker_fits_its_version_again(
    films: Project, runner: RayRunner, alone: dict[str, bytes], tmp_path: Path
) -> None:
    mark = tmp_path / "killed"

    def spread(fit: Fit, ends: Sequence[int]) -> Iterator[pa.Table]:
        if not isinstance(fit, NeighbourFit):
            return map(fit, ends)
        assert len(ends) == 5
        return runner.map(KilledOnce(fit, ends[3], mark), ends)

    write_sources(films.workspace, spread=spread)
    assert mark.exists()
    assert tables(films.workspace) == alone


def test_a_fit_that_raises_leaves_the_old_sources(films: Project, runner: RayRunner) -> None:
    write_sources(films.workspace)
    before = content(films.workspace.sources)
    add_event(films.workspace)
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        write_sources(
            films.workspace,
            spread=lambda fit, ends: runner.map(Refused(fit, ends[-1]), ends),
        )
    assert content(films.workspace.sources) == before


def test_the_command_follows_the_declaration_of_the_engine(
    films: Project,
    cluster: str,
    alone: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the same option that `feast materialize` reads."""
    declared = (feast_repository.REPOSITORY / "feature_store.yaml").read_text()
    monkeypatch.setattr(feast_repository, "REPOSITORY", tmp_path)
    for encoders, fails in [(3, True), (2, False)]:
        runner = f'  runner: {{type: ray, address: "{cluster}", encoders: {encoders}}}\n'
        changed = declared.replace("HistoryEngine\n", f"HistoryEngine\n{runner}")
        (tmp_path / "feature_store.yaml").write_text(changed)
        said = films.here("prepare", fails=fails)
        assert ("got 3 encoders of 1 CPU each, expected at most 2" in said.stderr) is fails
        assert films.workspace.manifest.exists() is not fails
    assert tables(films.workspace) == alone


def test_a_fit_asked_for_fewer_events_than_before_begins_anew() -> None:
    """As a worker is where a result of its own was lost."""
    events, ends = random_log(300), [40, 100, 200, 300]
    fit = NeighbourFit(events, ends, 10)
    first = [fit(end) for end in ends]
    assert [fit(end) for end in (100, 100, 300, 40)] == [first[at] for at in (1, 1, 3, 0)]
