"""`feast-fusion bench`: ours, the peers and the floor, measured in one run."""

import importlib
import sys
from pathlib import Path
from typing import Any

import click

from cli.context import PROJECT
from feast_fusion.errors import FeatureNotFoundError

BENCHMARKS = {
    "materialize": "benchmarks.materialize",
    "online": "benchmarks.online",
    "rank": "benchmarks.rank",
    "training-set": "benchmarks.training_set",
}


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)))
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the numbers there."
)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it runs, proves nothing.")
def bench(name: str, json_path: Path | None, quick: bool) -> None:
    """Measure NAME and print each case: ours, the peers, the floor and their ratios."""
    run_benchmark(name, PROJECT, json_path, quick)


def run_benchmark(
    name: str, project: Path, json_path: Path | None = None, quick: bool = False
) -> dict[str, Any]:
    """The result of a benchmark, which prints its own table.

    Raises
    ------
    FeatureNotFoundError
        The package was installed without the benchmarks.
    """
    module = BENCHMARKS[name]
    path = project.joinpath(*module.split(".")).with_suffix(".py")
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the benchmark {name!r}. "
            "Benchmarks are only there in a clone: run this command from one, installed editable."
        )
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    result: dict[str, Any] = importlib.import_module(module).run(json_path, quick)
    return result
