"""What a command shows: lines, the next step, a report, a progress bar."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from training.audit.leakage import LeakageReport
    from training.audit.skew_report import SkewReport


def say(*lines: str) -> None:
    """Lines for the person at the terminal."""
    for line in lines:
        click.echo(line)


def then(message: str) -> None:
    """The line that says what to do next."""
    click.secho(message, fg="cyan")


def fail(error: Exception) -> NoReturn:
    """End with what an error says, in one line, and exit code 1."""
    click.secho(f"Error ({type(error).__name__}): {error}", fg="red", err=True)
    sys.exit(1)


def report_and_exit(report: "LeakageReport | SkewReport", as_json: bool) -> None:
    """The report in words or as one JSON object; exit code 1 unless it is clean."""
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    else:
        say(*report.lines())
    sys.exit(0 if report.is_clean else 1)


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
