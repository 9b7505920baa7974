"""A line that is no TOML, and the line that was meant."""

import json
import re
import tomllib
from collections.abc import Callable

from feast_fusion.errors import SchemaError, schema_error

_PLACE = re.compile(r"\(at line (\d+), column \d+\)$")
_NOTHING = re.compile(r"=\s*(None|null|nil|NaN)?\s*$")
_TRUTH = re.compile(r"\b(True|False|TRUE|FALSE)\b")
_KEY_BEFORE_COLON = re.compile(r"^(\s*[\w-]+)\s*:")
_WITH_BACKSLASH = re.compile(r'"([^"\']*\\[^"\']*)"')
_BARE = re.compile(
    r"""("[^"]*"|'[^']*'|\#.*)"""  # a text or a remark, which stay
    r"""|([^\s\[\]{},="'#][^\[\]{},="'#]*?)(?=\s*(?:[,\]}#]|$))"""
)
_QUOTES = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e", '"') | dict.fromkeys("\u2018\u2019", "'")
)


def not_toml(where: str, text: str, error: tomllib.TOMLDecodeError) -> SchemaError:
    """The error that a file is no TOML: its line, and what it should be where that can be told."""
    said = str(error)
    place = _PLACE.search(said)
    lines = text.splitlines()
    number = int(place.group(1)) if place is not None else len(text.rstrip().splitlines())
    line = lines[number - 1].strip() if lines else ""
    return schema_error(
        f"{where}: line {number}",
        got=f"`{line}` ({said.partition(' (at ')[0]})",
        expected="valid TOML",
        remedy=_remedy(line),
    )


def _remedy(line: str) -> str:
    if _is_toml(line):
        return "Its key or section is there twice, or a line before it is not closed."
    if _NOTHING.search(line):
        return "A key without a value is left out: remove the line."
    repaired = line
    for words, repair in _REPAIRS:
        repaired = repair(repaired)
        if _is_toml(repaired):
            return f"{words}: `{repaired}`"
    return 'Write a key, = and a value, as in `title = "name"`, and close what the line opens.'


def _is_toml(line: str) -> bool:
    """Whether a line is TOML by itself, or as a line of a list."""
    for text in (line, f"x = [{line}]" if line.endswith(",") else line):
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        return True
    return False


def _with_quotes(line: str) -> str:
    """The line with quotes around each value that needs them.

    >>> _with_quotes("columns = {item_id = isbn, year = 5}"), _with_quotes("positive = a >= 4")
    ('columns = {item_id = "isbn", year = 5}', 'positive = "a >= 4"')
    """
    key, is_pair, value = line.partition("=")
    if not is_pair:
        key, value = "", line

    def quoted(found: re.Match[str]) -> str:
        bare = found.group(2)
        return found.group() if bare is None or _is_toml(f"x = {bare}") else _text(bare)

    parts = key + is_pair + _BARE.sub(quoted, value)
    is_one_text = is_pair and value.count("{") == value.count("}") and not {*value} & {*"\"'["}
    return f"{key}= {_text(value.strip())}" if is_one_text and not _is_toml(parts) else parts


def _text(words: str) -> str:
    return f"'{words}'" if "\\" in words else json.dumps(words, ensure_ascii=False)


def _closed(line: str) -> str:
    if line.startswith("[") and "=" not in line:
        return "[" + line.strip("[] ") + "]"
    return line + '"' if line.count('"') % 2 else line


# Tried in this order, each on what those before it have made.
_REPAIRS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("Quotes are straight", lambda line: line.translate(_QUOTES)),
    ("true and false are in small letters", lambda line: _TRUTH.sub(_small, line)),
    ("A key and its value stand around =", lambda line: _KEY_BEFORE_COLON.sub(r"\1 =", line)),
    ("A text with \\ has single quotes", lambda line: _WITH_BACKSLASH.sub(r"'\1'", line)),
    ("What is opened is closed", _closed),
    ("Text needs quotes", _with_quotes),
)


def _small(found: re.Match[str]) -> str:
    return found.group().lower()
