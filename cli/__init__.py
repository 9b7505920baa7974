"""The command `feast-fusion`. Only this package may import every other."""

import sys

import click

from cli.audit import audit
from cli.bench import bench
from cli.data import prepare, training_set
from cli.model import evaluate, recommend, train
from cli.redis import redis
from cli.refresh import refresh
from cli.run import demo, run
from cli.serve import serve
from cli.shell import env
from feast_fusion.errors import FeastFusionError


class _Group(click.Group):
    """Errors raised on purpose end in one line and exit code 1; all others keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FeastFusionError as error:
            click.secho(f"Error ({type(error).__name__}): {error}", fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="feast-fusion")
def main() -> None:
    """LLM user and item embeddings as Feast features, a ranker on them, and top N from Redis.

    The data set is chosen by --dataset or FUSION_DATASET (default: the MovieLens example).
    Everything produced lives under --home or FUSION_HOME (default: .fusion, searched upwards from
    the current folder), one folder per data-set name.

    \b
    The whole way, once:       feast-fusion demo
    On your own data:          feast-fusion run --dataset my/dataset.toml
    Feast's own commands:      eval "$(feast-fusion env)"; cd feature_repo; feast materialize ...
    """


_COMMANDS = (
    prepare,
    refresh,
    run,
    training_set,
    train,
    evaluate,
    recommend,
    serve,
    redis,
    demo,
    env,
    audit,
    bench,
)
for command in _COMMANDS:
    main.add_command(command)
