"""The trained versions of a data set's model, each in a folder of its own that never changes.

    <version>/served/        the artifact that was fitted to all events
              before_test/   the same recipe without the test part: what evaluations are of
              version.json   when it was trained, and of what

A version is named by the digest of its weights, so the same training is the same version.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from feast_fusion.errors import FeatureNotFoundError, SchemaError, schema_error
from feast_fusion.files import private_folder, replaced_folder
from feast_fusion.sealed_json import read_json, write_json
from intake.workspace import Workspace
from training.ranker.artifact import Artifact, read_description

_SERVED, _BEFORE_TEST, _ABOUT = "served", "before_test", "version.json"
_KEPT = 10  # versions that are not served


@dataclass(frozen=True)
class ModelVersion:
    """What is known of a version without loading its weights.

    Attributes
    ----------
    trained : when it was added
    fingerprint : of data, settings and code, see `training.provenance`
    encoder_id : of the text vectors it was trained on, None without any
    metrics : measured on the validation rows when it was trained
    """

    name: str
    trained: datetime
    fingerprint: str
    encoder_id: str | None
    service: str
    metrics: dict[str, float]


class ModelVersions:
    """The versions of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._folder = workspace.models

    def add(self, served: Artifact, before_test: Artifact, fingerprint: str) -> str:
        """Keep what a training has fitted; the version's name. One that is there is replaced."""
        with self._changing():
            building = self._folder / ".adding"
            shutil.rmtree(building, ignore_errors=True)  # of a killed process
            served.save(building / _SERVED)
            before_test.save(building / _BEFORE_TEST)
            about = {"trained": datetime.now(UTC), "fingerprint": fingerprint}
            write_json(building / _ABOUT, about)
            name = Artifact.load(building / _SERVED).version
            assert name is not None
            retired = self._folder / ".retired"
            shutil.rmtree(retired, ignore_errors=True)
            if (self._folder / name).exists():
                (self._folder / name).rename(retired)
            building.rename(self._folder / name)
            shutil.rmtree(retired, ignore_errors=True)
        return name

    def names(self) -> list[str]:
        """All versions, the newest first; damaged ones are left out."""
        return [version.name for version in self.all()]

    def all(self) -> list[ModelVersion]:
        """As `names`, described."""
        found = []
        for about in self._folder.glob(f"[!.]*/{_ABOUT}"):
            with suppress(SchemaError, FeatureNotFoundError):
                found.append(self._described(about.parent.name))
        return sorted(found, key=lambda version: version.trained, reverse=True)

    def find(self, beginning: str) -> ModelVersion:
        """The version whose name begins so.

        Raises
        ------
        FeatureNotFoundError
            There is no such version, or more than one.
        SchemaError
            It is damaged.
        """
        known = sorted(path.parent.name for path in self._folder.glob(f"[!.]*/{_ABOUT}"))
        found = [name for name in known if name.startswith(beginning)]
        if len(found) != 1:
            raise FeatureNotFoundError(
                f"model {beginning!r}: got {len(found)} versions of that name, expected one of "
                f"{known}. Run feast-fusion models list."
            )
        return self._described(found[0])

    def newest(self) -> ModelVersion:
        """The version that was trained last.

        Raises
        ------
        FeatureNotFoundError
            None was trained.
        """
        for version in self.all():
            return version
        raise FeatureNotFoundError(
            f"{self._folder}: got no trained model, expected one. Run feast-fusion train first."
        )

    def fitted_with(self, fingerprint: str) -> str | None:
        """The version of that fingerprint whose files are whole, None if there is none."""
        for version in self.all():
            if version.fingerprint == fingerprint:
                with suppress(SchemaError, FeatureNotFoundError):
                    self.load(version.name)
                    self.load_before_test(version.name)
                    return version.name
        return None

    def load(self, name: str) -> Artifact:
        """The artifact of a version that is served. Raises as `Artifact.load`."""
        return Artifact.load(self._folder / name / _SERVED)

    def load_before_test(self, name: str) -> Artifact:
        """The artifact of a version that evaluations are of. Raises as `Artifact.load`."""
        return Artifact.load(self._folder / name / _BEFORE_TEST)

    def folder(self, name: str) -> Path:
        """Where the files of a version lie."""
        return self._folder / name

    def receive(self, name: str, fill: Callable[[Path], None]) -> None:
        """Keep the version that `fill` puts into an empty folder, unless it is there."""
        with self._changing():
            if not self.folder(name).is_dir():
                with replaced_folder(self.folder(name)) as building:
                    fill(building)

    def delete(self, name: str) -> None:
        """Remove the files of a version."""
        with self._changing():
            shutil.rmtree(self._folder / name)

    def prune(self, in_use: set[str]) -> list[str]:
        """Remove all but the newest versions and those in use; the names of those removed."""
        unused = [name for name in self.names() if name not in in_use]
        for name in unused[_KEPT:]:
            self.delete(name)
        return unused[_KEPT:]

    @contextmanager
    def _changing(self) -> Iterator[None]:
        private_folder(self._folder)
        with FileLock(self._folder / ".lock"):
            yield

    def _described(self, name: str) -> ModelVersion:
        about = read_json(self._folder / name / _ABOUT)
        made: dict[str, Any] = read_description(self._folder / name / _SERVED)
        try:
            return ModelVersion(
                name,
                datetime.fromisoformat(about["trained"]),
                about["fingerprint"],
                made["encoder_id"],
                made["service"],
                made["metrics"],
            )
        except KeyError as error:
            raise schema_error(
                f"{self._folder / name}",
                got=f"a description without {error}",
                expected="one of this program's version",
                remedy="Run feast-fusion train again.",
            ) from error
