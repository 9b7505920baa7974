"""Who does the work of a repository: this process, or workers of a Ray cluster.

That work is the transformation of the rows that a sink lacks, and what else splits into tasks.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Literal, Protocol, TypeVar

from feast.repo_config import FeastConfigBaseModel
from pydantic import Field

from feast_fusion.history.pending_rows import PendingRows


class LocalRunnerConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """This process, one batch after the other."""

    type: Literal["local"] = "local"


class RayRunnerConfig(FeastConfigBaseModel):  # type: ignore[misc]
    """Workers of a Ray cluster; needs the extra `ray`.

    Parameters
    ----------
    address : of the cluster; `auto` is the one that this machine belongs to, `local` starts one of
        this machine alone for the duration
    encoders : workers, each of which loads the models that the transformation uses
    gpus_per_encoder : may be a fraction, for models that share a GPU
    """

    type: Literal["ray"]
    address: str = "auto"
    encoders: Annotated[int, Field(ge=1)] = 1
    gpus_per_encoder: Annotated[float, Field(ge=0)] = 0
    cpus_per_encoder: Annotated[float, Field(gt=0)] = 1


RunnerConfig = Annotated[LocalRunnerConfig | RayRunnerConfig, Field(discriminator="type")]


Task = TypeVar("Task")
Result = TypeVar("Result")


class Runner(Protocol):
    """Transforms pending rows, and adds what is new to their sink; does any other tasks too."""

    def complete(
        self, pending: PendingRows, batch_rows: int, advance: Callable[[int], object]
    ) -> int:
        """Transform all of `pending` in batches of `batch_rows`; how many rows the sink gained.

        A failure raises what the transformation raised. Call it while the sink is `locked`.

        Parameters
        ----------
        advance : called with the rows of each finished batch
        """

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """What `work` makes of each task, in the order of the tasks.

        A failure raises what `work` raised.

        Parameters
        ----------
        work : each worker calls a copy of its own, with tasks in their order but not all of them.
            After a worker died its new copy begins with the task that was lost.
        """


class LocalRunner:
    """Adds each finished batch to the sink at once, so a failure loses one batch at most."""

    def complete(
        self, pending: PendingRows, batch_rows: int, advance: Callable[[int], object]
    ) -> int:
        """See `Runner`."""
        n_added = 0
        for given in pending.rows.gather(pending.columns, pending.positions, batch_rows):
            made = pending.identity.make_rows(pending.derivation, given)
            added = pending.only_new(made)
            if added.num_rows:
                pending.sink.append(added)
            n_added += added.num_rows
            advance(given.num_rows)
        return n_added

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `Runner`."""
        return map(work, tasks)


def open_runner(config: RunnerConfig, repo_config: object) -> Runner:
    """The runner that `config` describes.

    Raises
    ------
    MissingExtraError
        It needs packages that are not installed.
    """
    if isinstance(config, LocalRunnerConfig):
        return LocalRunner()
    from feast_fusion.history.ray_runner import RayRunner

    return RayRunner(config, repo_config)
