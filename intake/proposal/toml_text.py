"""A proposal as the text of a dataset.toml."""

import json
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from intake.proposal.proposal import Proposal
from intake.proposal.proposed_section import SECTION, ProposedSection

_WIDTH = 96


def render_toml(proposal: Proposal) -> str:
    """The text, with the reasons as comments.

    Examples
    --------
    >>> from intake.proposal.proposed_section import propose_section
    >>> keys = {"path": "a.csv", "columns": {"item_id": "id"}}
    >>> items = propose_section(keys, {SECTION: ["Why it."], "columns": ["Why these."]})
    >>> print(render_toml(Proposal("shop", {"items": items})))
    name = "shop"
    <BLANKLINE>
    # Why it.
    [items]
    path = "a.csv"
    # Why these.
    columns = {item_id = "id"}
    <BLANKLINE>
    """
    lines = [f"name = {_value(proposal.name)}"]
    for name, section in proposal.sections.items():
        lines += ["", *_comments(section, SECTION), f"[{name}]"]
        for key, value in section.keys.items():
            lines += [*_comments(section, key), f"{key} = {_value(value)}"]
    return "\n".join(lines) + "\n"


def _comments(section: ProposedSection, key: str) -> list[str]:
    return [
        line
        for reason in section.reasons.get(key, ())
        for line in wrap(reason, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
    ]


def _value(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        inner = ", ".join(_value(each) for each in value)
        if len(inner) <= _WIDTH:
            return f"[{inner}]"
        return "[\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else json.dumps(name, ensure_ascii=False)
