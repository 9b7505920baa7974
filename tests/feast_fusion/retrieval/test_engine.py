"""What `engine` of the offline store may be, where the extra of another engine is not installed."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from feast_fusion.errors import MissingExtraError
from feast_fusion.point_in_time import PointInTimeOfflineStoreConfig
from tests.feast_fusion.retrieval.test_created_rule import make_repo, seen


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"type": "flink"}, "'local', 'spark'"),
        ({"type": "spark", "url": "http://host:1"}, "url"),
        ({"type": "spark", "rows_per_group": 1}, "rows_per_group"),
        ({"type": "local", "url": "local"}, "url"),
    ],
)
def test_what_no_engine_can_be_is_refused(engine: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PointInTimeOfflineStoreConfig(engine=engine)


def test_the_extra_of_an_engine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_repo(tmp_path, engine={"type": "spark"})
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(MissingExtraError, match=r"feast-fusion\[spark\]"):
        seen(store)
