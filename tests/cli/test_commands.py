"""The command group: every command is found, and help loads none of them."""

import json
import subprocess
import sys

import click
import pytest

from cli import _COMMANDS, main

HEAVY = {"feast", "fastapi", "pandas", "polars", "pyarrow", "sklearn", "torch", "transformers"}
SHOW_HELP = """
import json, sys
from cli import main
main(["--help"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def test_help_names_every_command_and_loads_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_HELP], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in _COMMANDS)
    assert not HEAVY & set(json.loads(done.stderr))


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_command_loads_under_its_name_and_has_a_help(name: str) -> None:
    context = click.Context(main)
    command = main.get_command(context, name)
    assert command is not None and command.name == name
    assert command.get_help(click.Context(command, parent=context))


def test_an_unknown_command_is_refused() -> None:
    with pytest.raises(click.UsageError, match="No such command 'nosuch'"):
        main(["nosuch"], standalone_mode=False)
