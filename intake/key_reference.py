"""Every key of a dataset.toml, from the models that read it: `python -m intake.key_reference`."""

import inspect
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from intake.dataset import Dataset
from intake.model_settings import Section
from intake.section_tree import section_in, sections
from intake.tables.section import TableSection, TimeReading

PAGE = Path(__file__).parents[1] / "docs" / "dataset_keys.md"
_HEAD = """# Every key of dataset.toml

Made by `python -m intake.key_reference` from the models that read the file; do not edit it.
Paths are relative to the file. A section may also stand in a line: `time = {unit = "s"}`.
"""
_SHARED = "`[items]`, `[users]` and `[interactions]`"
_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    datetime: "date, or time with its zone",
}
_BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def render_reference() -> str:
    """The page, in Markdown: a table of keys per section; what three sections share comes once."""
    parts = [_HEAD, _table("Before the first section", "", Dataset, _keys(Dataset) - {"path"})]
    parts += [
        _table(_SHARED, _summary(TableSection), TableSection, _keys(TableSection)),
        _table("`time` of the three", _summary(TimeReading), TimeReading, _keys(TimeReading)),
    ]
    for path, model in sections():
        if not path or model is TimeReading:
            continue
        shared = _keys(TableSection) if issubclass(model, TableSection) else set()
        own = _keys(model) - shared
        parts.append(_table(f"`[{'.'.join(path)}]`", _summary(model), model, own))
    return "".join(parts)


def descriptions(model: type[Section]) -> dict[str, str]:
    """What the docstrings of a model and its bases say of each attribute."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if issubclass(base, Section) else ""
        _, has_attributes, attributes = text.partition("Attributes\n----------\n")
        if has_attributes:
            found |= _attributes(attributes)
    return found


def _attributes(text: str) -> dict[str, str]:
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        names, _, meaning = entry.partition(" : ")
        for name in names.split(","):
            found[name.strip()] = " ".join(meaning.split())
    return found


def _keys(model: type[Section]) -> set[str]:
    """The fields of a model that are no sections."""
    return {n for n, f in model.model_fields.items() if section_in(f.annotation)[0] is None}


def _summary(model: type[Section]) -> str:
    first = inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
    words = re.sub(r"^`.*?`( of a table)?: ", "", first)
    return words[:1].upper() + words[1:]


def _table(title: str, summary: str, model: type[Section], keys: set[str]) -> str:
    if not keys:
        return ""
    said = descriptions(model)
    lines = ["", f"## {title}", "", *([summary, ""] if summary else [])]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in keys:
            meaning = re.sub(r"\bNone: ", "without it: ", said.get(name, ""))
            cells = (f"`{name}`", _value(field), _default(field), meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _value(field: FieldInfo) -> str:
    bounds = "; ".join(_bounds(field.metadata))
    return _type(field.annotation) + (f", {bounds}" if bounds else "")


def _type(annotation: Any) -> str:
    """A type in words.

    >>> _type(tuple[str, ...]), _type(Literal["s", "ms"] | None)
    ('list of texts', '`"s"` or `"ms"`')
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _TYPES:
        return _TYPES[annotation]
    if origin is Annotated:
        bounds = "; ".join(_bounds(inner[1:]))
        return _type(inner[0]) + (f" ({bounds})" if bounds else "")
    if origin is Literal:
        return _or([f"`{json.dumps(each)}`" for each in inner])
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        return f"list of {_plural(_type(inner[0]))}"
    if origin is tuple:
        return f"[{', '.join(map(_type, inner))}]"
    if origin is dict:
        return f"table of {_plural(_type(inner[1]))} by name"
    members = [each for each in inner if each is not type(None)]
    if origin is not None and members and (origin is Union or "Union" in str(origin)):
        return _or([_type(each) for each in members])
    raise TypeError(f"no words for {annotation}")


def _bounds(metadata: Any) -> Iterator[str]:
    for each in metadata:
        for name, words in _BOUNDS.items():
            if getattr(each, name, None) is not None:
                yield words.format(f"{getattr(each, name):g}")
        yield from _bounds(getattr(each, "metadata", ()))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default = field.get_default(call_default_factory=True)
    return "" if default is None else f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{}" if not value else str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1e6:
        return f"{value:.0e}"
    return json.dumps(value, ensure_ascii=False)


def _or(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _plural(words: str) -> str:
    """The plural of a type in words.

    >>> _plural("list of texts"), _plural("whole number (at least 1)")
    ('lists of texts', 'whole numbers (at least 1)')
    """
    if words.startswith(("`", "[")) or " or " in words:
        return words
    if words.startswith("list of "):
        return f"lists of {words.removeprefix('list of ')}"
    noun, bracket, bounds = words.partition(" (")
    return f"{noun}s{bracket}{bounds}"


if __name__ == "__main__":
    PAGE.write_text(render_reference(), encoding="utf-8")
