"""Versions are whole or not there, and which of them answer is one file."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feast_fusion.errors import FeatureNotFoundError, SchemaError
from intake.workspace import Workspace
from tests.training.shared_place import small_artifacts
from tests.training.synthetic import make_dataset, make_training_set
from training.model_versions import ModelVersions
from training.promotions import Promoted, Promotions
from training.ranker.artifact import Artifact

USERS = [f"user {n}" for n in range(4_000)]


@pytest.fixture(scope="module")
def artifacts() -> list[Artifact]:
    return small_artifacts(3)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(make_dataset(), tmp_path)


@pytest.fixture
def names(workspace: Workspace, artifacts: list[Artifact]) -> list[str]:
    versions = ModelVersions(workspace)
    return [versions.add(each, artifacts[0], f"f{n}") for n, each in enumerate(artifacts)]


def test_a_version_is_found_again(
    workspace: Workspace, artifacts: list[Artifact], names: list[str]
) -> None:
    versions, rows = ModelVersions(workspace), make_training_set(30)
    assert versions.names() == names[::-1] and versions.newest().name == names[2]
    for name, artifact in zip(names, artifacts, strict=True):
        assert versions.load(name).version == name
        np.testing.assert_array_equal(versions.load(name).score(rows), artifact.score(rows))
        assert versions.find(name[:5]).metrics == artifact.metrics
    np.testing.assert_array_equal(
        versions.load_before_test(names[2]).score(rows), artifacts[0].score(rows)
    )
    assert versions.fitted_with("f1") == names[1] and versions.fitted_with("f") is None


def test_the_same_training_is_the_same_version(
    workspace: Workspace, artifacts: list[Artifact], names: list[str]
) -> None:
    versions = ModelVersions(workspace)
    assert versions.add(replace(artifacts[1], metrics={}), artifacts[1], "later") == names[1]
    assert sorted(versions.names()) == sorted(names)
    assert versions.newest().name == names[1] and versions.fitted_with("f1") is None


def test_a_version_that_a_killed_training_began_is_none(
    workspace: Workspace, artifacts: list[Artifact], names: list[str]
) -> None:
    versions = ModelVersions(workspace)
    artifacts[0].save(workspace.models / ".adding" / "served")
    assert versions.names() == names[::-1]
    versions.add(artifacts[0], artifacts[0], "f0")
    assert not (workspace.models / ".adding").exists()


def test_a_damaged_version_is_left_out_and_made_anew(
    workspace: Workspace, artifacts: list[Artifact], names: list[str]
) -> None:
    versions = ModelVersions(workspace)
    path = workspace.models / names[1] / "served" / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert versions.fitted_with("f1") is None
    assert versions.add(artifacts[1], artifacts[0], "f1") == names[1]
    assert versions.fitted_with("f1") == names[1]
    (workspace.models / names[1] / "version.json").write_text("{}")
    assert sorted(versions.names()) == sorted({*names} - {names[1]})
    with pytest.raises(SchemaError, match=r"version\.json"):
        versions.find(names[1])


@pytest.mark.parametrize("beginning", ["", "x"])
def test_a_name_of_none_or_of_many_says_which_there_are(
    workspace: Workspace, names: list[str], beginning: str
) -> None:
    with pytest.raises(FeatureNotFoundError, match="models list") as error:
        ModelVersions(workspace).find(beginning)
    assert all(name in str(error.value) for name in names)


def test_only_the_newest_that_nobody_uses_are_kept(
    workspace: Workspace, artifacts: list[Artifact], names: list[str]
) -> None:
    versions = ModelVersions(workspace)
    for copy in range(12):  # as if trained: only names and times matter here
        (workspace.models / names[0]).rename(workspace.models / f"{copy:012}")
        versions.add(artifacts[0], artifacts[0], f"copy {copy}")
    assert len(versions.names()) == 15
    removed = versions.prune({names[1], "000000000000"})
    assert len(removed) == 3 and not {names[1], "000000000000"} & {*removed}
    assert len(versions.names()) == 12


def share_of(promoted: Promoted) -> dict[str, float]:
    found = Counter(map(promoted.version_of, USERS))
    return {name: n / len(USERS) for name, n in found.items()}


def test_users_are_split_by_the_shares_and_keep_their_version(workspace: Workspace) -> None:
    promotions = Promotions(workspace)
    promotions.promote("old")
    promotions.promote("other", 0.5)
    some = promotions.promote("new", 0.1)
    assert share_of(some) == pytest.approx({"old": 0.45, "other": 0.45, "new": 0.1}, abs=0.03)
    more = promotions.promote("new", 0.3)
    assert share_of(more) == pytest.approx({"old": 0.35, "other": 0.35, "new": 0.3}, abs=0.03)
    for user in USERS:
        if some.version_of(user) == "new":
            assert more.version_of(user) == "new", "a larger share keeps the users it had"
    assert promotions.read() == more and more.main == "old"
    assert [*map(promotions.read().version_of, USERS)] == [*map(more.version_of, USERS)]
    assert promotions.promote("new").shares == {"new": 1.0}


def test_another_version_is_tried_with_other_users(workspace: Workspace) -> None:
    one = Promoted({"old": 0.8, "one": 0.2})
    two = Promoted({"old": 0.8, "two": 0.2})
    both = sum(one.version_of(u) == "one" and two.version_of(u) == "two" for u in USERS)
    assert both / len(USERS) == pytest.approx(0.04, abs=0.02)


def test_what_was_promoted_before_comes_back(workspace: Workspace) -> None:
    promotions = Promotions(workspace)
    first = promotions.promote("a")
    with pytest.raises(FeatureNotFoundError, match="no earlier promotion"):
        promotions.roll_back()
    second = promotions.promote("b", 0.25)
    promotions.shadow("c")
    assert promotions.read() == Promoted(second.shares, "c")
    assert promotions.roll_back() == second
    assert promotions.roll_back() == first == promotions.read()
    with pytest.raises(FeatureNotFoundError):
        promotions.roll_back()


def test_a_shadow_that_is_promoted_is_none_any_more(workspace: Workspace) -> None:
    promotions = Promotions(workspace)
    promotions.promote("a")
    promotions.shadow("b")
    assert promotions.promote("b", 0.5) == Promoted({"a": 0.5, "b": 0.5})
    assert promotions.names() == {"a", "b"}


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(workspace: Workspace, share: float) -> None:
    promotions = Promotions(workspace)
    promotions.promote("a")
    with pytest.raises(SchemaError, match="share of the users"):
        promotions.promote("b", share)
    assert promotions.read() == Promoted({"a": 1.0})


def test_the_first_version_answers_everybody(workspace: Workspace) -> None:
    with pytest.raises(SchemaError, match="1 where no other version answers"):
        Promotions(workspace).promote("a", 0.5)


def test_nothing_promoted_and_a_damaged_file_say_what_to_do(workspace: Workspace) -> None:
    promotions = Promotions(workspace)
    with pytest.raises(FeatureNotFoundError, match="feast-fusion train"):
        promotions.read()
    promotions.promote("a")
    workspace.promoted.write_text("{}")
    with pytest.raises(SchemaError, match="Delete it"):
        promotions.promote("b")
    workspace.promoted.unlink()  # as the message says
    assert promotions.promote("b") == Promoted({"b": 1.0})
