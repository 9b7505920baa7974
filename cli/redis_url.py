"""A Redis URL as the connection string of Feast's Redis online store."""

import json
import re
from contextlib import suppress
from urllib.parse import parse_qsl, unquote, urlsplit

from feast_fusion.errors import StoreUnavailableError

_PLAIN = re.compile(r"[\w.~!*()@/+=-]+", re.ASCII)


def connection_string(url: str) -> str:
    """`redis://user:pw@host:port/db` in the `host:port,db=...` form that Feast parses.

    `rediss://` adds `ssl=true`; query parameters of the URL become further `name=value` pairs.

    Raises
    ------
    StoreUnavailableError
        The URL is not one of a Redis over TCP. The message never contains the password.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 6379
        database = int(parts.path.strip("/") or 0)
    except ValueError:
        raise _bad_url("an address whose port or database is not a number") from None
    if parts.scheme not in ("redis", "rediss"):
        raise _bad_url(f"the scheme {parts.scheme!r}")
    if ":" in host:
        raise _bad_url("an IPv6 address, which Feast's host:port form cannot carry")
    options = [("db", str(database))]
    if parts.username:
        options.append(("username", _quoted(unquote(parts.username))))
    if parts.password:
        options.append(("password", _quoted(unquote(parts.password))))
    if parts.scheme == "rediss":
        options.append(("ssl", "true"))
    options += [(name, value) for name, value in parse_qsl(parts.query)]
    return ",".join([f"{host}:{port}", *(f"{name}={value}" for name, value in options)])


def _quoted(text: str) -> str:
    """`text` so that Feast, which splits at commas and JSON-decodes, reads exactly it.

    What YAML would take for its own (such as a colon and a space) is escaped too, since the
    string usually reaches Feast through `connection_string: ${VARIABLE}`.
    """
    is_plain = _PLAIN.fullmatch(text) is not None
    if is_plain:
        with suppress(json.JSONDecodeError):
            json.loads(text)
            is_plain = False  # "0123" stays text, but "123" would become a number
    if is_plain:
        return text
    escaped = re.sub(r"[, :#]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text)[1:-1])
    return f'"{escaped}"'


def _bad_url(got: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"Redis URL: got {got}, expected redis://[user:password@]host[:port][/db] or rediss://. "
        "Correct REDIS_URL."
    )
