"""JSON as language models write it: fenced, followed by words, cut off. Pure."""

import json
import re
from typing import Any

_TRAILING_COMMA = re.compile(r",\s*([}\]])")
_CUT_OFF = re.compile(r"[,:\s]+$")


def read_json_answer(text: str) -> Any:
    """The first JSON object or list in a text, closed where it was cut off; None without one.

    >>> read_json_answer('Sure! {"mood": "dark", "themes": ["war", "lo')
    {'mood': 'dark', 'themes': ['war', 'lo']}
    >>> read_json_answer("no idea") is None
    True
    """
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        return None
    written = text[min(starts) :]
    for candidate in (written, _TRAILING_COMMA.sub(r"\1", _closed(written))):
        try:
            return json.JSONDecoder().raw_decode(candidate)[0]
        except (ValueError, RecursionError):
            continue
    return None


def _closed(text: str) -> str:
    """The text up to the end of its first value, with what is still open closed.

    >>> _closed('["a", "b')
    '["a", "b"]'
    """
    open_brackets: list[str] = []
    in_string = is_escaped = False
    for at, letter in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif in_string:
            is_escaped, in_string = letter == "\\", letter != '"'
        elif letter == '"':
            in_string = True
        elif letter in "{[":
            open_brackets.append("}" if letter == "{" else "]")
        elif letter in "}]":
            if not open_brackets or open_brackets.pop() != letter:
                return text
            if not open_brackets:
                return text[: at + 1]
    if in_string:
        text = text.removesuffix("\\" if is_escaped else "") + '"'
    return _CUT_OFF.sub("", text) + "".join(reversed(open_brackets))
