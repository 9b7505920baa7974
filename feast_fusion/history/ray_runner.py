"""The work of a repository done by workers of a Ray cluster; sinks grow by one commit.

Each worker reads its rows of the source itself and writes one staged file a shard, under a name
that the shard alone decides. A worker that dies is started again and does its shard again. Only
this process commits, once, after every shard is there: until then the sink is unchanged.
"""

import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from feast_fusion.errors import StoreUnavailableError, extra_required, schema_error
from feast_fusion.history.pending_rows import PendingRows
from feast_fusion.history.ray_worker import ShardWorker, TaskWorker
from feast_fusion.history.runner import RayRunnerConfig, Result, Task
from feast_fusion.history.staging import open_staged, write_staged
from feast_fusion.history.table_rows import Rows
from feast_fusion.parquet.column_types import plain_type
from feast_fusion.parquet.parquet_source import ParquetSource

_log = logging.getLogger(__name__)

_VARIABLES = ("FUSION_", "PYICEBERG_", "AWS_")  # data set, Iceberg catalogues, object stores
_TRIES_AGAIN = 3  # of one shard or task whose worker dies
_PATIENCE_S = 20.0
_REACH_S = 5.0


class RayRunner:
    """The runner of `runner: {type: ray}`, connected to its cluster when it is first needed."""

    def __init__(self, config: RayRunnerConfig, repo_config: Any) -> None:
        with extra_required("ray"):
            import ray
        self._ray: Any = ray
        self._config = config
        self._repo_config = repo_config

    def complete(
        self, pending: PendingRows, batch_rows: int, advance: Callable[[int], object]
    ) -> int:
        """See `Runner`.

        Raises
        ------
        SchemaError
            The cluster has no room for the encoders.
        StoreUnavailableError
            There is no cluster, or a worker died again and again.
        """
        positions = pending.positions
        if not len(positions):
            return 0
        # Few rows are spread as well, and no shard is larger than a batch.
        n_rows = min(batch_rows, -(-len(positions) // self._config.encoders))
        shards = [positions[first : first + n_rows] for first in range(0, len(positions), n_rows)]
        staged: dict[int, list[Any]] = {}
        with pending.sink.staging() as place:
            n_gpus = self._config.gpus_per_encoder
            with self._workers(pending.sink.what, len(shards), ShardWorker, n_gpus) as pool:
                work = [self._put(pending, place)]  # in a list, so that Ray does not resolve it
                for number, *shard in pool.map_unordered(
                    lambda worker, each: worker.make.remote(work, *each), enumerate(shards)
                ):
                    staged[number] = shard
                    advance(len(shards[number]))
            # Fails where a shard is not there.
            ready = [_settled(pending, place, n, *staged[n]) for n in range(len(shards))]
            pending.sink.commit([file for file, n_rows in ready if n_rows])
        return sum(n_rows for _, n_rows in ready)

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `Runner`; no task has a GPU.

        Raises
        ------
        SchemaError, StoreUnavailableError
            As `complete`.
        """
        if not tasks:
            return
        with self._workers("batch_engine, runner", len(tasks), TaskWorker, n_gpus=0) as pool:
            put = [self._ray.put(work)]
            yield from pool.map(lambda worker, task: worker.make.remote(put, task), tasks)

    def _put(self, pending: PendingRows, place: str) -> Any:
        view = pending.derivation.view.to_proto().SerializeToString()
        return self._ray.put((view, self._repo_config, _closed(pending.rows), place))

    @contextmanager
    def _workers(self, what: str, n_tasks: int, kind: type, n_gpus: float) -> Iterator[Any]:
        ray, config = self._ray, self._config
        from ray.util import ActorPool

        self._connect()
        worker = ray.remote(kind).options(
            num_cpus=config.cpus_per_encoder,
            num_gpus=n_gpus,
            max_restarts=-1,
            max_task_retries=_TRIES_AGAIN,
            runtime_env={
                "env_vars": {n: v for n, v in os.environ.items() if n.startswith(_VARIABLES)}
            },
        )
        workers = [worker.remote() for _ in range(min(config.encoders, n_tasks))]
        try:
            started = [each.__ray_ready__.remote() for each in workers]
            _, waiting = ray.wait(started, num_returns=len(started), timeout=_PATIENCE_S)
            if waiting:
                _log.warning(
                    "%s: %d of %d encoders wait for CPUs or GPUs that others use now",
                    what,
                    len(waiting),
                    len(workers),
                )
            yield ActorPool(workers)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayActorError as error:
            raise StoreUnavailableError(
                f"{what}: got a Ray worker that died ({error}), expected it to finish "
                "its part. Give each encoder more memory, or lower batch_rows where rows are "
                "transformed."
            ) from error
        finally:
            for each in workers:
                ray.kill(each)

    def _connect(self) -> None:
        ray, address = self._ray, self._config.address
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            try:
                _reach(address)
                ray.init(
                    address=address,
                    include_dashboard=False if address == "local" else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except OSError as error:
                raise StoreUnavailableError(
                    f"batch_engine, runner: got no Ray cluster at {address!r} ({error}), expected "
                    "one that runs. Start it with ray start, correct the address, or say "
                    "address: local."
                ) from error
            weakref.finalize(self, ray.shutdown)  # also when the process ends
        require_room(self._config, [n["Resources"] for n in ray.nodes() if n["Alive"]])


def _reach(address: str) -> None:
    """Raise within seconds where nobody listens at `host:port`: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()


def require_room(config: RayRunnerConfig, nodes: list[dict[str, float]]) -> None:
    """Refuse encoders that the cluster could never start all at once: they would wait for ever.

    nodes : what each machine has, as `{"CPU": 8.0, "GPU": 2.0}`
    """
    need = {"CPU": config.cpus_per_encoder, "GPU": config.gpus_per_encoder}
    asked = {kind: amount for kind, amount in need.items() if amount}
    room = sum(
        min(int(node.get(kind, 0) / amount + 1e-6) for kind, amount in asked.items())
        for node in nodes
    )
    if room < config.encoders:
        of_each = " and ".join(f"{amount:g} {kind}" for kind, amount in asked.items())
        has = [{kind: node.get(kind, 0) for kind in need} for node in nodes]
        raise schema_error(
            "batch_engine, runner",
            got=f"{config.encoders} encoders of {of_each} each",
            expected=f"at most {room}, for which the nodes of the cluster have room: {has}",
            remedy="Lower encoders, cpus_per_encoder or gpus_per_encoder, or add nodes.",
        )


def _settled(
    pending: PendingRows, place: str, number: int, file: str, n_rows: int
) -> tuple[str, int]:
    """The file of a shard without rows that the sink or an earlier shard has, and its rows."""
    what, schema = pending.sink.what, pending.derivation.schema.arrow
    shard = open_staged(file, what)
    expected = [(field.name, plain_type(field.type)) for field in schema]
    if shard.n_rows != n_rows or shard.schema != pa.schema(expected):
        raise StoreUnavailableError(
            f"{what}, staged file {file}: got {shard.n_rows} rows of {shard.columns}, expected "
            f"{n_rows} of {schema.names}, as a worker wrote it. Run the same command again."
        )
    if pending.identity.is_given:
        return file, n_rows
    new = pending.only_new(shard.read().cast(schema))
    return (file if len(new) == n_rows else write_staged(place, number, new)), len(new)


def _closed(rows: Rows) -> Rows:
    """`rows` without what they keep of files that were read, which does not pickle."""
    if isinstance(rows, ParquetSource):
        return replace(rows, files=tuple(replace(file) for file in rows.files))
    return rows
