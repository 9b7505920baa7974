"""The numbers of one run, for people and as summary.json."""

import json
import math
import resource
from dataclasses import asdict, dataclass
from pathlib import Path

from feast_fusion.files import replaced_file


@dataclass(frozen=True)
class RunSummary:
    """What a run took and what came of it; `encoder_calls` are texts that were not cached.

    An AUC is None where the test rows have one label only.
    """

    seconds: float
    encoder_calls: int
    item_vectors: int
    user_vectors: int
    training_rows: int
    test_auc: float | None
    popularity_auc: float | None
    online_p50_ms: float
    peak_rss_mb: int

    def write(self, path: Path) -> None:
        """Replace the JSON file at `path`."""
        with replaced_file(path) as building:
            building.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")

    def lines(self) -> list[str]:
        """The numbers in words."""
        return [
            f"Rows and vectors   {self.training_rows:,} training rows, "
            f"{self.item_vectors:,} item vectors, {self.user_vectors:,} user vectors",
            f"Encoder calls      {self.encoder_calls:,}",
            f"Test AUC           {self._test_auc}",
            f"Online latency     {self.online_p50_ms:.1f} ms p50: Redis, features and ranking",
            f"Time and memory    {self.seconds:.0f} s, {self.peak_rss_mb:,} MB peak",
        ]

    @property
    def _test_auc(self) -> str:
        if self.test_auc is None or self.popularity_auc is None:
            return "not defined: the newest tenth of the examples has one label only"
        return f"{self.test_auc:.4f} (popularity {self.popularity_auc:.4f})"


def rounded(figure: float | None) -> float | None:
    """Four decimals; None where the figure is not defined, which NaN says too."""
    return None if figure is None or math.isnan(figure) else round(figure, 4)


def peak_rss_mb() -> int:
    """The largest process so far: this one or a command it ran."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) // 1024
