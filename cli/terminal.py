"""What a command shows: lines, the next step, a progress bar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


def say(*lines: str) -> None:
    """Lines for the person at the terminal."""
    for line in lines:
        click.echo(line)


def then(message: str) -> None:
    """The line that says what to do next."""
    click.secho(message, fg="cyan")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, moved by calling `(what, done, total)`."""
    from tqdm import tqdm

    with tqdm(desc=label, leave=False, ncols=80) as bar:

        def advance(what: str, done: int, total: int) -> None:
            bar.set_description(f"{label}: {what}", refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield advance
