"""What runs in the processes of a Ray cluster."""

import os
from pathlib import Path
from typing import Any

from feast_fusion.feast_command import import_lightly


class ShardWorker:
    """Transforms shards of the rows of one view; a model that is loaded once stays."""

    def __init__(self) -> None:
        import_lightly()
        self._opened: Any = None

    def make(self, work: list[Any], number: int, positions: Any) -> tuple[int, str, int]:
        """Transform the rows at `positions` and stage what they give.

        The number of the shard, its file, and the rows there.

        Raises what the transformation raises.

        Parameters
        ----------
        work : one reference to what `RayRunner` has put into the cluster, the same in each call
        """
        from feast_fusion.history.staging import write_staged

        if self._opened is None:
            self._opened = _open(work[0])
        derivation, identity, rows, place = self._opened
        (given,) = rows.gather(derivation.input_columns(rows), positions, len(positions))
        made = identity.make_rows(derivation, given)
        return number, write_staged(place, number, made), made.num_rows


class TaskWorker:
    """Does tasks of one work; what the work keeps from one task to the next stays."""

    def __init__(self) -> None:
        import_lightly()
        self._work: Any = None

    def make(self, work: list[Any], task: Any) -> Any:
        """What the work makes of a task.

        Raises what the work raises.

        Parameters
        ----------
        work : as in `ShardWorker.make`
        """
        import ray

        if self._work is None:
            self._work = ray.get(work[0])
        return self._work(task)


def _open(work: Any) -> tuple[Any, Any, Any, str]:
    """How rows are made, what they are known by, the rows of the source, the place of files."""
    import ray
    from feast import FeatureView
    from feast.protos.feast.core.FeatureView_pb2 import FeatureView as FeatureViewProto

    from feast_fusion.history.derivation import derive
    from feast_fusion.history.row_identity import RowIdentity

    stored, repo_config, rows, place = ray.get(work)
    if repo_config.repo_path and Path(repo_config.repo_path).is_dir():
        os.chdir(repo_config.repo_path)  # where Feast's own command runs
    view = FeatureView.from_proto(FeatureViewProto.FromString(stored))
    derivation = derive(view, repo_config)
    return derivation, RowIdentity.of(derivation.schema, rows.columns), rows, place
