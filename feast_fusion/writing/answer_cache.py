"""What was written about a text, once per (writer, text): one SQLite file per writer."""

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from feast_fusion.errors import StoreUnavailableError
from feast_fusion.writing.cost import Cost
from feast_fusion.writing.writer import Written

_TABLE = """CREATE TABLE IF NOT EXISTS answer (
    key BLOB PRIMARY KEY, text TEXT, n_read INTEGER, n_written INTEGER, seconds REAL)"""
_REFERENCE = "CREATE TABLE IF NOT EXISTS reference (prompt TEXT)"
_COST = "SELECT count(*), sum(n_read), sum(n_written), sum(seconds) FROM answer"
_KEYS_PER_QUERY = 500
_WAIT_S = 60.0


class AnswerCache:
    """Answers of one writer under `folder`, shared by any number of threads and processes.

    `lock` is held by the one that is asking the model, so that nobody else asks the same.
    """

    def __init__(self, folder: Path, writer_id: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{writer_id}.sqlite"
        self.lock = FileLock(folder / f"{writer_id}.lock")

    def lookup(self, prompts: Sequence[str]) -> dict[str, str]:
        """By prompt its answer, of those that have one."""
        keys = {_key(prompt): prompt for prompt in prompts}
        found: dict[str, str] = {}
        with self._connect() as connection:
            wanted = list(keys)
            for start in range(0, len(wanted), _KEYS_PER_QUERY):
                part = wanted[start : start + _KEYS_PER_QUERY]
                places = ",".join("?" * len(part))
                query = f"SELECT key, text FROM answer WHERE key IN ({places})"
                found |= {keys[key]: text for key, text in connection.execute(query, part)}
        return found

    def store(self, answers: Mapping[str, Written], seconds: float) -> None:
        """Keep answers by prompt, which took so many seconds together."""
        each = seconds / max(1, len(answers))
        rows = [
            (_key(prompt), answer.text, answer.n_read_tokens, answer.n_written_tokens, each)
            for prompt, answer in answers.items()
        ]
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

    def reference(self, prompts: Sequence[str]) -> list[str]:
        """The prompts that were given to the first such call: what a choice is made beside."""
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = [prompt for (prompt,) in connection.execute("SELECT prompt FROM reference")]
            if not found:
                rows = [(prompt,) for prompt in prompts]
                connection.executemany("INSERT INTO reference VALUES (?)", rows)
            connection.execute("COMMIT")
        return found or list(prompts)

    def cost(self) -> Cost:
        """Of all answers that are kept."""
        with self._connect() as connection:
            n, read, written, seconds = connection.execute(_COST).fetchone()
        return Cost(n, read or 0, written or 0, seconds or 0.0)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection for one call: none is ever shared by threads or inherited by a fork."""
        try:
            connection = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None)
            try:
                connection.execute(_TABLE)
                connection.execute(_REFERENCE)
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreUnavailableError(
                f"{self.path}: got {error}, expected a cache of answers that can be read and "
                "written. Check the permissions and the free space; a damaged file can be deleted, "
                "its answers are then written again."
            ) from error


def _key(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()
