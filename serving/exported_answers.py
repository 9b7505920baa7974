"""Answers of many users as Parquet: a folder of parts that a run which was ended goes on with."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_fusion.errors import StoreUnavailableError, schema_error
from feast_fusion.files import replaced_file
from feast_fusion.sealed_json import read_json, write_json
from feast_fusion.times import TIMESTAMP
from serving.answers import STORE_UNAVAILABLE, Recommendations

Answers = Callable[[Sequence[str]], Iterable[Recommendations]]
"""The answers to users, in their order."""

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("rank", pa.int32()),
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("score", pa.float32()),
        ("liked", pa.float32()),
        ("degraded", pa.bool_()),
        ("model", pa.string()),
        ("answered", TIMESTAMP),
    ]
)
_USERS_OF_A_PART = 1_000
_ASKED = "asked.json"


@dataclass(frozen=True)
class ExportedAnswers:
    """The parts of an export, one for so many users in their order.

    Parameters
    ----------
    folder : of the parts; a part is there whole or not at all
    users : who is answered
    asked : what the answers depend on besides; an export of something else is not mixed with
    """

    folder: Path
    users: Sequence[str]
    asked: Mapping[str, Any]

    def write(self, answers: Answers) -> Iterator[int]:
        """Makes the parts that are not there yet, and says after each how many users are done.

        Raises
        ------
        SchemaError
            The folder has an export of something else.
        StoreUnavailableError
            Redis is away: what is there stays, and the next run goes on.
        """
        self._open()
        for start in range(0, len(self.users), _USERS_OF_A_PART):
            path = self.folder / f"part-{start // _USERS_OF_A_PART:06}.parquet"
            users = self.users[start : start + _USERS_OF_A_PART]
            if not path.is_file():
                rows = [row for answer in answers(users) for row in _rows(answer)]
                with replaced_file(path, sync=True) as building:
                    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), building)
            yield start + len(users)

    def _open(self) -> None:
        text = json.dumps([*self.users]).encode()
        mine = {**self.asked, "users": hashlib.sha256(text).hexdigest()}
        path = self.folder / _ASKED
        if path.is_file():
            found = read_json(path)
            differs = sorted(key for key in {*mine, *found} if mine.get(key) != found.get(key))
            if differs:
                raise schema_error(
                    str(self.folder),
                    got=f"an export of another {' and '.join(differs)}",
                    expected="one that this run goes on with",
                    remedy="Name another folder, or remove this one.",
                )
            return
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise schema_error(
                str(self.folder),
                got="a folder of other files",
                expected="an empty one, or one of an export",
                remedy="Name another folder.",
            )
        with replaced_file(path) as building:
            write_json(building, mine)


def _rows(answer: Recommendations) -> Iterator[dict[str, Any]]:
    if STORE_UNAVAILABLE in answer.reasons:
        raise StoreUnavailableError(
            f"user {answer.user_id}: got no features from Redis, expected them. Run the same "
            "command again when Redis answers: it goes on where it stopped."
        )
    now = datetime.now(UTC)
    for rank, item in enumerate(answer.items, start=1):
        yield {
            "user_id": answer.user_id,
            "rank": rank,
            "item_id": item.item_id,
            "title": item.title,
            "score": item.score,
            "liked": item.liked,
            "degraded": answer.degraded,
            "model": answer.model,
            "answered": now,
        }
