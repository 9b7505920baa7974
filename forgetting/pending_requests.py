"""Requests to forget people: durable until they are completed, and illegible without a key."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from feast_fusion.errors import schema_error
from feast_fusion.files import private_folder, replaced_file, sync_path
from feast_fusion.sealed_json import read_json, write_json
from forgetting.evidence import Evidence
from intake.tombstones import Tombstones


class Request(BaseModel):
    """One person who is to be forgotten; `evidence` is None until it is gathered."""

    model_config = ConfigDict(frozen=True)

    user_id: str
    asked: datetime
    evidence: Evidence | None = None


class Requests:
    """The requests and receipts in `folder`, beside the tombstones.

    pending/<digest>         a request that is not completed, encrypted under the key
    receipts/<digest>.json   what was done, without the id
    """

    def __init__(self, folder: Path) -> None:
        self.tombstones = Tombstones(folder)
        self._folder = folder
        self._pending, self._receipts = folder / "pending", folder / "receipts"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time completes requests; the next one waits."""
        with FileLock(private_folder(self._folder) / ".lock"):
            yield

    def ask(self, user_id: str) -> str:
        """Keep that a user is to be forgotten, unless that is known; the digest of the id."""
        digest = self.tombstones.digest(user_id)
        if not (self._pending / digest).exists():
            self.keep(Request(user_id=user_id, asked=datetime.now(UTC)))
        return digest

    def keep(self, request: Request) -> None:
        """Keep a request as it is now, safe from a loss of power."""
        path = self._pending / self.tombstones.digest(request.user_id)
        content = request.model_dump_json().encode()
        private_folder(self._pending)
        with replaced_file(path, sync=True) as building:
            building.touch(0o600)
            building.write_bytes(self._cipher.encrypt(content))

    def pending(self) -> list[Request]:
        """Those that are not completed.

        Raises
        ------
        SchemaError
            One is damaged.
        """
        found = sorted(self._pending.glob("[!.]*"))
        return [Request.model_validate_json(self._decrypted(path)) for path in found]

    def is_pending(self, digest: str) -> bool:
        """Whether the request of a digest is not completed."""
        return (self._pending / digest).exists()

    def close(self, digest: str, receipt: dict[str, Any]) -> Path:
        """Keep the receipt of a request, which is gone then; where it lies."""
        path = self._receipts / f"{digest}.json"
        with replaced_file(path, sync=True) as building:
            write_json(building, receipt)
        (self._pending / digest).unlink()
        sync_path(self._pending)
        return path

    def receipt(self, digest: str) -> dict[str, Any] | None:
        """The last receipt of a digest, None without one."""
        path = self._receipts / f"{digest}.json"
        return read_json(path) if path.is_file() else None

    def _decrypted(self, path: Path) -> bytes:
        try:
            return self._cipher.decrypt(path.read_bytes())
        except InvalidToken:
            raise schema_error(
                str(path),
                got="a damaged request to forget somebody",
                expected="it as it was written",
                remedy="Run feast-fusion forget USER again, then remove this file.",
            ) from None

    @property
    def _cipher(self) -> Fernet:
        return Fernet(urlsafe_b64encode(self.tombstones.key))
