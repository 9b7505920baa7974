"""A JSON file that notices its own damage: it holds the digest of what it says."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feast_fusion.errors import SchemaError, schema_error

_DIGEST = "digest"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` and its SHA-256 to `path`; times are written as ISO 8601."""
    plain = json.loads(json.dumps(content, default=lambda time: time.isoformat()))
    text = json.dumps({**plain, _DIGEST: _digest(plain)}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` was given.

    Raises
    ------
    SchemaError
        There is no such file, or it is another than was written.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise _unreadable(str(path), error) from error
    return parse_json(text, str(path))


def parse_json(text: bytes, place: str) -> dict[str, Any]:
    """What `write_json` was given, of the bytes of its file; errors name it `place`.

    Raises
    ------
    SchemaError
        It is another than was written.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        if content.pop(_DIGEST, None) != _digest(content):
            raise ValueError("it says something else than its digest does")
    except (ValueError, AttributeError) as error:
        raise _unreadable(place, error) from error
    return content


def _unreadable(place: str, error: Exception) -> SchemaError:
    return schema_error(
        place,
        got=f"no readable JSON ({error})",
        expected="the file as it was written",
        remedy="Run feast-fusion run, which makes it anew.",
    )


def _digest(plain: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
