"""`--context NAME=VALUE`: what is around a request."""

import click

from intake.context import Value
from intake.workspace import Workspace


def read_context(workspace: Workspace, given: tuple[str, ...]) -> dict[str, Value]:
    """What the options say, numbers where the data set has numbers.

    Raises
    ------
    SchemaError
        A name is not one of the data set's context, or its value not of its kind.
    """
    columns, found = workspace.dataset.interactions.context, dict[str, Value]()
    for each in given:
        name, equals, text = each.partition("=")
        if not equals:
            raise click.UsageError(f"--context: got {each}, expected NAME=VALUE.")
        try:
            found[name] = float(text) if name in columns.numeric else text
        except ValueError:
            found[name] = text  # refused by its name
    return columns.check(found)
