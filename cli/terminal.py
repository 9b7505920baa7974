"""What a command shows: lines, the next step, its result, a progress bar, why it failed.

Every command has --quiet and --json by `with_output_options`; whoever writes a command says lines
by `say` and `then`, and what it did by `result`, and asks for neither option.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cli.suggested import as_typed

if TYPE_CHECKING:
    from tqdm import tqdm

    from training.audit.leakage import LeakageReport
    from training.audit.skew_report import SkewReport

_QUIET, _JSON = "feast_fusion.quiet", "feast_fusion.json"
# Figures before the bar: of a narrow terminal the bar is what can be spared.
_BAR = "{desc}{percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}] {bar}"
_WIDTH = 80


def _option(flags: list[str], noted_as: str, help_text: str) -> click.Option:
    def note(context: click.Context, _: click.Parameter, is_given: bool) -> None:
        context.meta[noted_as] = is_given

    return click.Option(flags, is_flag=True, expose_value=False, callback=note, help=help_text)


_OPTIONS = (
    _option(["--quiet", "-q"], _QUIET, "Say nothing but errors."),
    _option(["--json"], _JSON, "Print what it did as one JSON object; words go to stderr."),
)


def with_output_options(command: click.Command) -> click.Command:
    """The command with --quiet and --json, unless an option of its own is called so.

    Of a group, each of its commands.
    """
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_output_options(each)
    else:
        taken = {flag for parameter in command.params for flag in parameter.opts}
        command.params += [one for one in _OPTIONS if not taken.intersection(one.opts)]
    return command


def is_quiet() -> bool:
    """Whether --quiet was given."""
    return _is_given(_QUIET)


def say(*lines: str) -> None:
    """Lines for the person at the terminal."""
    if not is_quiet():
        for line in lines:
            click.echo(line, err=_is_given(_JSON))


def then(message: str) -> None:
    """The line that says what to do next."""
    if not is_quiet():
        click.secho(as_typed(message), fg="cyan", err=_is_given(_JSON))


def result(**facts: Any) -> None:
    """What the command did, for --json: once a command, times and paths as text."""
    if _is_given(_JSON):
        click.echo(json.dumps(facts, default=str))


def fail(error: Exception) -> NoReturn:
    """End with what an error says, in one line, and exit code 1."""
    told = as_typed(str(error))
    click.secho(f"Error: {told}", fg="red", err=True)
    result(error=told)
    sys.exit(1)


def report_and_exit(report: "LeakageReport | SkewReport") -> None:
    """What the report says; exit code 1 unless it is clean."""
    say(*report.lines())
    result(**report.to_dict())
    sys.exit(0 if report.is_clean else 1)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar at the terminal, moved by calling `(what, done, total)`."""
    with _bar(label) as bar:

        def advance(what: str, done: int, total: int) -> None:
            bar.set_description(f"{label}: {what}", refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield advance


@contextmanager
def counter(label: str, unit: str) -> Iterator[Callable[[int], object]]:
    """A count at the terminal, raised by calling `(n_more)`."""
    with _bar(label, unit=f" {unit}", bar_format=None) as bar:
        yield bar.update


def shows_bars() -> bool:
    """Whether somebody watches: bars would only fill a file."""
    return sys.stderr.isatty() and not is_quiet()


def _bar(label: str, unit: str = "it", bar_format: str | None = _BAR) -> "tqdm[Any]":
    from tqdm import tqdm

    return tqdm(
        desc=f"{label}: ",
        leave=False,
        ncols=_WIDTH,
        unit=unit,
        bar_format=bar_format,
        disable=not shows_bars(),
    )


def _is_given(option: str) -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(option))
