"""`feast-fusion bench`: ours, the peers and the floor, measured in one run."""

import importlib
import sys
from pathlib import Path

import click

from cli.workspace_options import PROJECT
from feast_fusion.errors import FeatureNotFoundError

_BENCHMARKS = (
    "encoder",
    "index",
    "load",
    "materialize",
    "online",
    "query-encoding",
    "rank",
    "scale",
    "spark-store",
    "training-set",
)


@click.command()
@click.argument("name", type=click.Choice(_BENCHMARKS))
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), help="Also write the numbers there."
)
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it runs, proves nothing.")
def bench(name: str, json_path: Path | None, quick: bool) -> None:
    """Measure NAME and print each case: ours, the peers, the floor and their ratios."""
    run_benchmark(name, PROJECT, json_path, quick)


def run_benchmark(name: str, project: Path, json_path: Path | None, quick: bool) -> None:
    """Run the benchmark of a clone at `project`; it prints its own table.

    Raises
    ------
    FeatureNotFoundError
        The package was installed without the benchmarks.
    """
    module = name.replace("-", "_")
    path = project / "benchmarks" / f"{module}.py"
    if not path.is_file():
        raise FeatureNotFoundError(
            f"{path}: got no such file, expected the benchmark {name!r}. "
            "Benchmarks are only there in a clone: run this command from one, installed editable."
        )
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    importlib.import_module(f"benchmarks.{module}").run(json_path, quick)
