"""Versions and promotions that hosts share: what one promotes the other has, whole or not."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from feast_fusion.errors import FeatureNotFoundError, SchemaError, StoreUnavailableError
from intake.workspace import Workspace
from tests.training.shared_place import hosts_of, small_artifacts
from tests.training.synthetic import make_training_set
from training.model_versions import ModelVersions
from training.promotions import Promoted, Promotions
from training.ranker.artifact import Artifact
from training.shared_models import SharedModels


@pytest.fixture(scope="module")
def artifacts() -> list[Artifact]:
    return small_artifacts(2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def hosts(place: Path, tmp_path: Path, artifacts: list[Artifact]) -> Sequence[Workspace]:
    return hosts_of(str(place), tmp_path, artifacts)


def shared(host: Workspace) -> SharedModels:
    found = SharedModels.of(host)
    assert found is not None
    return found


def test_what_one_host_promotes_the_other_has_and_answers_with(
    hosts: Sequence[Workspace], artifacts: list[Artifact]
) -> None:
    one, other = hosts
    second, first = ModelVersions(one).names()
    theirs = Promotions(other)
    theirs.follow()
    assert theirs.names() == set(), "nobody has promoted anything"
    Promotions(one).promote(first)
    theirs.follow()
    assert theirs.read().shares == {first: 1.0}
    rows = make_training_set(30)
    received = ModelVersions(other).load(first)
    np.testing.assert_array_equal(received.score(rows), artifacts[0].score(rows))
    assert ModelVersions(other).find(first) == ModelVersions(one).find(first)
    assert ModelVersions(other).names() == [first], "the other version is not needed yet"
    stamp = theirs.read_stamp()
    theirs.follow()
    assert theirs.read_stamp() == stamp, "nothing new, nothing replaced"
    shared(one).push(second)
    assert {version.name for version in shared(other).all()} == {first, second}
    assert shared(other).find(second[:6]).name == second
    theirs.promote(second, 0.25)
    ours = Promotions(one)
    ours.follow()
    assert ours.read().shares == pytest.approx({first: 0.75, second: 0.25})
    assert ours.roll_back() == Promoted({first: 1.0})
    theirs.follow()
    assert theirs.read() == Promoted({first: 1.0})


def test_a_change_comes_on_top_of_what_other_hosts_have_promoted(
    hosts: Sequence[Workspace],
) -> None:
    one, other = hosts
    second, first = ModelVersions(one).names()
    Promotions(one).promote(first)
    Promotions(other).shadow(None)  # it has not followed by itself
    Promotions(one).promote(second)
    assert Promotions(other).roll_back() == Promoted({first: 1.0})


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["served/arrays.safetensors", "version.json", "manifest.json"])
def test_a_damaged_version_is_refused_and_what_was_promoted_stays(
    hosts: Sequence[Workspace], place: Path, file: str
) -> None:
    one, other = hosts
    second, first = ModelVersions(one).names()
    for name in (first, second):
        Promotions(one).promote(name)
        if name == first:
            Promotions(other).follow()
    damage(place / one.dataset.name / second / file)
    with pytest.raises(SchemaError, match=str(place / one.dataset.name / second / file)):
        Promotions(other).follow()
    assert Promotions(other).read().main == first
    assert ModelVersions(other).names() == [first]
    damage(place / one.dataset.name / second / file)  # the same bit, back
    Promotions(other).follow()
    assert Promotions(other).read().main == second


def test_a_damaged_promotion_is_refused_and_what_was_promoted_stays(
    hosts: Sequence[Workspace], place: Path
) -> None:
    one, other = hosts
    second, first = ModelVersions(one).names()
    Promotions(one).promote(first)
    Promotions(other).follow()
    Promotions(one).promote(second)
    path = place / one.dataset.name / "promoted.json"
    path.write_text(path.read_text().replace(second, first))
    with pytest.raises(SchemaError, match=str(path)):
        Promotions(other).follow()
    assert Promotions(other).read() == Promoted({first: 1.0})


def test_a_version_that_is_half_there_is_none_and_one_that_is_gone_is_named(
    hosts: Sequence[Workspace], place: Path
) -> None:
    one, other = hosts
    second, first = ModelVersions(one).names()
    Promotions(one).promote(first)
    shared(one).push(second)
    (place / one.dataset.name / second / "manifest.json").unlink()  # of a killed push
    assert [version.name for version in shared(other).all()] == [first]
    shared(one).push(second)
    assert len(shared(other).all()) == 2
    shared(one).remove(second)
    shared(one).remove(second)
    shutil.rmtree(place / one.dataset.name / first)
    with pytest.raises(FeatureNotFoundError, match=first):
        Promotions(other).follow()
    assert Promotions(other).read_stamp() is None


def test_a_place_that_is_away_changes_nothing_here(
    hosts: Sequence[Workspace], place: Path, tmp_path: Path
) -> None:
    one, _ = hosts
    second, first = ModelVersions(one).names()
    Promotions(one).promote(first)
    place.rename(tmp_path / "unmounted")
    for change in (Promotions(one).follow, lambda: Promotions(one).promote(second)):
        with pytest.raises(StoreUnavailableError, match="FUSION_MODELS"):
            change()
    assert Promotions(one).read() == Promoted({first: 1.0})


def test_a_promotion_that_cannot_be_shared_is_none(
    hosts: Sequence[Workspace], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = hosts
    second, first = ModelVersions(one).names()
    Promotions(one).promote(first)

    def away(self: SharedModels, path: Path) -> None:
        raise StoreUnavailableError("the place: got nothing, expected an answer.")

    with monkeypatch.context() as patch, pytest.raises(StoreUnavailableError):
        patch.setattr(SharedModels, "write_promoted", away)
        Promotions(one).promote(second)
    assert Promotions(one).read() == Promoted({first: 1.0})
