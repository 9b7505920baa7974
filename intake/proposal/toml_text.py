"""A proposal as the text of a dataset.toml."""

import json
from collections.abc import Mapping
from typing import Any

from intake.proposal.proposal import Proposal

_WIDTH = 96


def render_toml(proposal: Proposal) -> str:
    """The text, with the reasons as comments.

    Examples
    --------
    >>> proposal = Proposal("shop")
    >>> proposal.add("items", {"path": "a.csv", "columns": {"item_id": "id"}}, ["Why."])
    >>> print(render_toml(proposal))
    name = "shop"
    <BLANKLINE>
    # Why.
    [items]
    path = "a.csv"
    columns = {item_id = "id"}
    <BLANKLINE>
    """
    lines = [f"name = {render_value(proposal.name)}"]
    for section, keys in proposal.sections.items():
        lines += ["", *(f"# {reason}" for reason in proposal.reasons[section]), f"[{section}]"]
        lines += [f"{key} = {render_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def render_value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {render_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(render_value(each) for each in value)
        if len(inner) <= _WIDTH:
            return f"[{inner}]"
        return "[\n" + "".join(f"    {render_value(each)},\n" for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else json.dumps(name, ensure_ascii=False)
