"""Commands of ours in what we say, as the reader must type them."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import click
from click.core import ParameterSource

_PROGRAM = "feast-fusion"
_GIVEN = "feast_fusion.given"
# Those whose next word is a part of the command, and those that work on no data set.
_OF_TWO_WORDS = ("audit", "cache", "models", "redis", "refresh", "tables")
_WITHOUT_DATA_SET = ("bench", "init")
_COMMAND = re.compile(
    rf"{_PROGRAM} (?P<words>(?:(?:{'|'.join(_OF_TWO_WORDS)})\b(?: [a-z]+)?|[a-z][a-z-]*)"
    r"(?: (?:[A-Z]{2,}|[0-9]+|[0-9a-f]{12})\b)*)(?P<more> --dataset)?"
)


def note_given(context: click.Context, *names: str) -> None:
    """Keep which of these options, such as "dataset", stand in the command that runs."""
    given = [
        f"--{name} {shlex.quote(str(context.params[name]))}"
        for name in names
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    context.meta[_GIVEN] = given


def as_typed(text: str) -> str:
    """The text with each `feast-fusion COMMAND` as the reader must type it.

    The program is where it was called from, unless PATH finds it. Options that name data set and
    home, given in the command that runs, are given again; variables and defaults hold anyway.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return text
    root = context.find_root()
    names = root.command.list_commands(root) if isinstance(root.command, click.Group) else []
    given: list[str] = context.meta.get(_GIVEN, [])

    def typed(found: re.Match[str]) -> str:
        name = found["words"].split()[0]
        if name not in names:
            return found[0]
        is_whole = found["more"] is not None or name in _WITHOUT_DATA_SET
        options = [] if is_whole else given
        return " ".join([_program(), found["words"], *options]) + (found["more"] or "")

    return _COMMAND.sub(typed, text)


def _program() -> str:
    called = Path(sys.argv[0])
    on_path = shutil.which(_PROGRAM)
    is_found = on_path is not None and Path(on_path).resolve() == called.resolve()
    if called.name != _PROGRAM or is_found:
        return _PROGRAM
    path, here = called.absolute(), Path.cwd()
    if path.parent == here:
        return f".{os.sep}{_PROGRAM}"
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
