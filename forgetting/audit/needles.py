"""What is searched for of a person: the id in every form in which it is kept, texts and digests.

An id such as "7" is also a number, an item and a part of other words. It counts where it is the
whole value of what is called by a user's name, or stands in a form that only an id of a user has.
An id that nothing else is called counts wherever it stands as a word of its own.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from feast.infra.key_encoding_utils import serialize_entity_key_prefix

from feast_fusion.online.codec.entity_keys import SERIALIZATION_VERSION

_TELLING = 6  # characters
_VALUE_TYPE = (2).to_bytes(4, "little")  # a string, in a key of Feast
USER_ID = "user_id"


@dataclass(frozen=True)
class Needles:
    """What is searched for of one person.

    Parameters
    ----------
    texts : that only this person has
    digests : under which vectors and writings of the person are kept
    is_shared : whether something else is called as the person is
    """

    user_id: str
    texts: Collection[str] = ()
    digests: Collection[bytes] = ()
    is_shared: bool = False
    _forms: tuple[bytes, ...] = field(init=False)
    _word: re.Pattern[bytes] | None = field(init=False)

    def __post_init__(self) -> None:
        quoted = [json.dumps(self.user_id, ensure_ascii=ascii) for ascii in (True, False)]
        named = [f'"{USER_ID}":{space}{each}' for each in quoted for space in ("", " ")]
        escaped = [json.dumps(text)[1:-1] for text in self.texts]
        forms = [_entity_key(self.user_id), *self.digests]
        forms += [form.encode() for form in (*named, *self.texts, *escaped)]
        object.__setattr__(self, "_forms", tuple(dict.fromkeys(forms)))
        is_telling = len(self.user_id) >= _TELLING and not self.is_shared
        object.__setattr__(self, "_word", _as_word(self.user_id) if is_telling else None)

    def in_bytes(self, content: Any) -> int | None:
        """Where bytes, or what is mapped as bytes, have one; None where they have none."""
        for form in self._forms:
            if (at := content.find(form)) >= 0:
                return int(at)
        if self._word is None or content.find(self.user_id.encode()) < 0:
            return None
        found = self._word.search(content)
        return None if found is None else found.start()

    def in_value(self, name: str, value: object) -> bool:
        """Whether a value that is called `name` is one, or has one in it."""
        if isinstance(value, bytes):
            return self.in_bytes(value) is not None or self._in_json(name, value)
        if isinstance(value, int) and name == USER_ID:
            return str(value) == self.user_id
        if not isinstance(value, str):
            return False
        is_theirs = value == self.user_id and (self._word is not None or "user" in name.lower())
        content = value.encode("utf-8", "surrogatepass")
        return is_theirs or self.in_bytes(content) is not None or self._in_json(name, content)

    def in_parsed(self, name: str, value: object) -> bool:
        """The same of what was parsed from JSON, each part under its own name."""
        if isinstance(value, dict):
            return _is_row_of(value, self.user_id) or any(
                self.in_value(name, key) or self.in_parsed(key, each) for key, each in value.items()
            )
        if isinstance(value, list):
            return _is_event_of(value, self.user_id) or any(
                self.in_parsed(name, each) for each in value
            )
        return self.in_value(name, value)

    def _in_json(self, name: str, content: bytes) -> bool:
        if content[:1] not in (b"{", b"["):
            return False
        try:
            return self.in_parsed(name, json.loads(content))
        except ValueError:
            return False


def _as_word(user_id: str) -> re.Pattern[bytes]:
    """The id between other characters than those of words; one of digits is no part of a number."""
    around = rb"\w.+-" if user_id.isdigit() else rb"\w"
    return re.compile(rb"(?<![%b])%b(?![%b])" % (around, re.escape(user_id.encode()), around))


def _is_event_of(value: list[Any], user_id: str) -> bool:
    """Whether it is an event as Redis has them: its id, the user, the item, the time, ..."""
    return len(value) >= 4 and isinstance(value[3], int) and value[1] == user_id


def _is_row_of(value: dict[str, Any], user_id: str) -> bool:
    """Whether it is a row that was posted of the user."""
    return value.get("table") == "users" and value.get("key") == user_id


def _entity_key(user_id: str) -> bytes:
    """What a key of Feast has of the user, whatever project it belongs to."""
    head = serialize_entity_key_prefix([USER_ID], SERIALIZATION_VERSION)
    value = user_id.encode()
    return bytes(head + _VALUE_TYPE + len(value).to_bytes(4, "little") + value)
