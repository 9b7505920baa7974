"""The command `feast-fusion`. Only this package may import every other."""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

import click
from click.shell_completion import CompletionItem

from cli.terminal import fail, with_output_options
from cli.version import print_version
from feast_fusion.errors import FeastFusionError
from intake.near_name import did_you_mean

# Command -> its module and what `--help` says of it, so that help loads no command.
_COMMANDS = {
    "init": ("cli.init", "Look at files and propose a dataset.toml."),
    "prepare": ("cli.data", "Validate the three files and derive the point-in-time sources."),
    "write": ("cli.write", "Write what [writer] names of items and users."),
    "ingest": ("cli.ingest", "Take in events from files or a Kafka topic, each once."),
    "refresh": ("cli.refresh", "Fold live events into the sources and update the stores."),
    "run": ("cli.run", "Go the whole way on a data set."),
    "training-set": ("cli.data", "Build the training set: each label with its features."),
    "train": ("cli.ranker", "Fit the fusion ranker to the training set."),
    "tune": ("cli.tune", "Try settings of the models on the validation rows."),
    "tune-encoder": ("cli.tune_encoder", "Adapt the encoder to the data set's texts and choices."),
    "evaluate": ("cli.evaluate", "Measure what is recommended, beside what it has to beat."),
    "models": ("cli.models", "Look after the trained versions, and which of them answer."),
    "rehearse": ("cli.rehearse", "Ask two versions what they would have answered."),
    "recommend": ("cli.recommend", "Print the top N items for USER, with features from Redis."),
    "serve": ("cli.serve", "Answer over HTTP until interrupted."),
    "redis": ("cli.redis", "Start, stop or look at the embedded Redis of a data set."),
    "demo": ("cli.run", "Prepare MovieLens-100k and run everything on it."),
    "cache": ("cli.cache", "Look after the vectors that are kept."),
    "tables": ("cli.tables", "Look after the files that sinks consist of."),
    "backup": ("cli.backup", "Write what a data set cannot make again to one file."),
    "restore": ("cli.backup", "Put back what backup wrote."),
    "forget": ("cli.forget", "Erase all that is kept of users, and prove it."),
    "export": ("cli.forget", "Write all that is kept of a user to a folder."),
    "doctor": ("cli.doctor", "Look at what a data set stands on, one line each."),
    "env": ("cli.feast_repository", "Print what Feast's command needs, as shell exports."),
    "audit": ("cli.audit", "Check what was built, or served, against its sources."),
    "bench": ("cli.bench", "Measure ours, the peers and the floor in one run."),
}
# Their output is what a shell evaluates, or a table of figures.
_FOR_PROGRAMS = ("env", "bench")
# What the machine refuses, and a person can correct: of other errors the traceback is told.
_OTHER_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
_CORRECTABLE = {
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Correct the permissions of it"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free space"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files (ulimit -n)"),
    errno.EFBIG: "Raise the limit of a file's size (ulimit -f)",
    **dict.fromkeys(_OTHER_PATH, "Correct the path"),
}


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does: what it started ends with it.

    A signal that the caller has ignored stays so: `nohup` does that. Only the main thread of a
    process may say what a signal does.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    ours = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if is_main and signal.getsignal(number) is not signal.SIG_IGN
    ]
    before = {number: signal.signal(number, leave) for number in ours}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


class _Commands(click.Group):
    """Loads a command when it is called.

    Errors raised on purpose, and what the machine refuses, end in one line and exit code 1; all
    others keep their traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), cmd_name.replace("-", "_"))
        return command if cmd_name in _FOR_PROGRAMS else with_output_options(command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word; of an unknown one the error names one that is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = did_you_mean(args[0], _COMMANDS)
            raise click.UsageError(f"{error.format_message()}{meant}", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands and options, without loading a command for it."""
        commands = [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            with ended_by_signals():
                return super().invoke(ctx)
        except FeastFusionError as error:
            fail(error)
        except OSError as error:
            if error.errno not in _CORRECTABLE:
                raise
            where = "" if error.filename is None else f"{error.filename}: "
            remedy = f"{_CORRECTABLE[error.errno]}, or name another folder with --home."
            what = f"{where}got {error.strerror or error}, expected a usable file. {remedy}"
            fail(OSError(what))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Of the program, of Feast, and of the model that answers.",
)
@click.pass_context
def main(context: click.Context) -> None:
    """LLM user and item embeddings as Feast features, a ranker on them, and top N from Redis.

    The data set is chosen by --dataset or FUSION_DATASET (default: the MovieLens example).
    Everything produced lives under --home or FUSION_HOME (default: .fusion, searched upwards from
    the current folder), one folder per data-set name.

    \b
    The whole way, once:       feast-fusion demo
    On your own data:          feast-fusion init my/files; feast-fusion run --dataset dataset.toml
    Feast's own commands:      eval "$(feast-fusion env)"; cd feature_repo; feast materialize ...
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
