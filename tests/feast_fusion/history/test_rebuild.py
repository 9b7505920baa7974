"""A history computed anew: whole in the place of the old one, or the old one stays."""

from pathlib import Path

import pytest

from cli.redis_process import RunningRedis
from feast_fusion.errors import SchemaError
from feast_fusion.history.derivation import derive
from feast_fusion.history.rebuild import rebuild_sink
from feast_fusion.history.runner import LocalRunner
from tests.feast_fusion.feast_repo import FeastRepo, day, make_repo, page, redis_store


@pytest.fixture
def repo(tmp_path: Path, server: RunningRedis) -> FeastRepo:
    repo = make_repo(tmp_path / "repo", online_store=redis_store(server))
    repo.write_pages([page(f"p{i}", i, i) for i in range(25)])
    repo.store_apply()
    assert rebuild(repo) == 25
    return repo


def rebuild(repo: FeastRepo) -> int:
    store = repo.store
    view = store.get_feature_view("page_vector")
    return rebuild_sink(view, store.config, store._get_provider().offline_store, 10, LocalRunner())


def numbers(repo: FeastRepo) -> list[float]:
    stored = repo.stored().sort("page_id", "event_timestamp")
    return [vector[0] for vector in stored["emb"].to_list()]


def test_rows_are_those_of_the_source_as_it_is_now(repo: FeastRepo) -> None:
    assert len(repo.stored()) == 25
    repo.write_pages([page(f"p{i}", i, 100 + i) for i in range(20)])
    assert rebuild(repo) == 20
    assert sorted(numbers(repo)) == [float(100 + i) for i in range(20)]
    assert [path.name for path in repo.sink.parent.glob(".*") if path.is_dir()] == []


def test_one_that_fails_leaves_the_old_rows(
    repo: FeastRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write_pages([page(f"p{i}", i, 100 + i) for i in range(25)])
    monkeypatch.setenv("UDF_RAISE_ON", "text-115")
    with pytest.raises(ValueError, match="the model refused a text"):
        rebuild(repo)
    assert sorted(numbers(repo)) == [float(i) for i in range(25)]


@pytest.mark.parametrize("killed", ["before the first rename", "between", "after the second"])
def test_one_that_is_killed_among_its_renames_is_finished_or_undone(
    repo: FeastRepo, killed: str
) -> None:
    sink = repo.sink
    building = sink.with_name(f".{sink.name}.1234abcd.tmp")
    retired = sink.with_name(f".{sink.name}.retired")
    if killed == "before the first rename":
        building.mkdir()
    elif killed == "between":
        sink.rename(retired)
        building.mkdir()
    else:
        retired.mkdir()
    repo.here("materialize", day(-1), day(30))
    assert sorted(numbers(repo)) == [float(i) for i in range(25)]
    assert not building.exists() and not retired.exists()


def test_a_view_without_a_history_is_refused(repo: FeastRepo) -> None:
    store = repo.store
    view = store.get_feature_view("page_text")
    assert derive(view, store.config).sink is None
    with pytest.raises(SchemaError, match=r"'page_text'.*without a sink"):
        rebuild_sink(view, store.config, store._get_provider().offline_store, 10, LocalRunner())
