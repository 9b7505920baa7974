"""Which versions of the model answer, each for which share of the users; and which did before."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from filelock import FileLock

from feast_fusion.errors import FeatureNotFoundError, SchemaError, schema_error
from feast_fusion.files import private_folder, replaced_file
from feast_fusion.sealed_json import read_json, write_json
from intake.workspace import Workspace
from training.shared_models import SharedModels

_REMEMBERED = 20  # earlier promotions


@dataclass(frozen=True)
class Promoted:
    """The versions that answer.

    Attributes
    ----------
    shares : by version the share of the users, in the order of promotion; together 1
    shadow : a version that is asked what it would answer, and not heard
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @property
    def main(self) -> str:
        """The version of most users; of equals the one that was promoted first."""
        return max(self.shares, key=lambda name: self.shares[name])

    @property
    def names(self) -> set[str]:
        """All versions that are in use."""
        return {*self.shares, *([self.shadow] if self.shadow else [])}

    def version_of(self, user_id: str) -> str:
        """The version that answers a user: the same one, in every process, until a promotion.

        The newest version has its users at one end of a line that it shuffles itself, so that a
        larger share of the same version keeps the users it had.
        """
        *_, newest = self.shares
        digest = hashlib.blake2b(f"{newest}\0{user_id}".encode("utf-8", "surrogatepass")).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        for name, share in reversed([*self.shares.items()]):
            place -= share
            if place < 0:
                return name
        return name

    def with_share(self, name: str, share: float) -> "Promoted":
        """`name` answers a share of the users; the others keep their proportions."""
        others = {n: s for n, s in self.shares.items() if n != name}
        rest = sum(others.values())
        left = {n: s / rest * (1 - share) for n, s in others.items()} if share < 1 else {}
        return Promoted({**left, name: share}, None if self.shadow == name else self.shadow)


class Promotions:
    """What is promoted in one workspace; kept in a file beside the versions.

    Where hosts share models, the file is a copy of theirs: `follow` brings it up to date, and
    what changes it does so first. All of these raise StoreUnavailableError as `SharedModels`.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.promoted
        self._shared = SharedModels.of(workspace)

    def read(self) -> Promoted:
        """What is promoted now.

        Raises
        ------
        FeatureNotFoundError
            Nothing was.
        SchemaError
            The file is damaged.
        """
        if not self._path.is_file():
            raise FeatureNotFoundError(
                f"{self._path}: got no such file, expected a promoted model. "
                "Run feast-fusion train, or feast-fusion models promote."
            )
        return _promoted(self._read()["now"])

    def names(self) -> set[str]:
        """All versions in use; none where nothing was promoted."""
        return self.read().names if self._path.is_file() else set()

    def follow(self) -> None:
        """Take up what another host has promoted, once this host has all versions of it.

        Raises
        ------
        FeatureNotFoundError, SchemaError
            A shared version is gone or damaged; what was promoted before still is.
        """
        if self._shared is not None:
            with self._changing():
                pass

    def read_stamp(self) -> tuple[int, int] | None:
        """What changes with every promotion; None where nothing was promoted."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def promote(self, name: str, share: float = 1.0) -> Promoted:
        """`name` answers a share of the users from now on.

        Raises
        ------
        SchemaError
            A share is not above 0 and at most 1, or less than 1 for the first version.
        """
        with self._changing():
            before = self._before()
            current = before[-1] if before else Promoted()
            if not 0 < share <= 1 or (share < 1 and not set(current.shares) - {name}):
                raise schema_error(
                    "share of the users",
                    got=share,
                    expected="above 0 and at most 1; 1 where no other version answers",
                    remedy="Correct it.",
                )
            return self._write(before, current.with_share(name, share))

    def shadow(self, name: str | None) -> Promoted:
        """`name` is asked beside those that answer; None ends that."""
        with self._changing():
            before = self._before()
            current = before[-1] if before else self.read()
            return self._write(before, Promoted(current.shares, name))

    def before(self) -> Promoted:
        """What was promoted before the last promotion.

        Raises
        ------
        FeatureNotFoundError
            There was one promotion only.
        """
        before = self._before()
        if len(before) < 2:
            raise FeatureNotFoundError(
                f"{self._path}: got no earlier promotion, expected one to return to. "
                "Name a version: feast-fusion models promote VERSION."
            )
        return before[-2]

    def roll_back(self) -> Promoted:
        """What was promoted before is promoted again; raises as `before`."""
        with self._changing():
            return self._write(self._before()[:-2], self.before())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """One process of a host at a time, on top of what all hosts have."""
        private_folder(self._path.parent)
        with FileLock(self._path.with_name(".promoted.lock")):
            if self._shared is not None:
                self._take(self._shared)
            yield

    def _take(self, shared: SharedModels) -> None:
        found = shared.read_promoted()
        if found is None or (self._path.is_file() and self._path.read_bytes() == found):
            return
        with replaced_file(self._path, sync=True) as building:
            building.write_bytes(found)
            for name in sorted(_promoted(read_json(building)["now"]).names):
                shared.find(name)

    def _before(self) -> list[Promoted]:
        """All promotions that are remembered, the last one is now's."""
        if not self._path.is_file():
            return []
        content = self._read()
        return [*map(_promoted, content["before"]), _promoted(content["now"])]

    def _read(self) -> dict[str, Any]:
        try:
            return read_json(self._path)
        except SchemaError as error:
            raise schema_error(
                str(self._path),
                got=f"a damaged file ({error})",
                expected="which versions answer",
                remedy="Delete it, and run feast-fusion models promote VERSION.",
            ) from error

    def _write(self, before: list[Promoted], now: Promoted) -> Promoted:
        kept = before[-_REMEMBERED:]
        with replaced_file(self._path, sync=True) as building:
            write_json(building, {"now": _plain(now), "before": [_plain(each) for each in kept]})
            if self._shared is not None:
                for name in sorted(now.names):
                    self._shared.push(name)
                self._shared.write_promoted(building)
        return now


def _plain(promoted: Promoted) -> dict[str, Any]:
    # A list, since the digest of JSON sorts keys, and the order is part of what is said.
    return {"shares": [*map(list, promoted.shares.items())], "shadow": promoted.shadow}


def _promoted(plain: dict[str, Any]) -> Promoted:
    return Promoted(dict(plain["shares"]), plain["shadow"])
