"""An Iceberg table named where pyiceberg is not installed."""

import sys

import pytest

from feast_fusion.errors import MissingExtraError
from feast_fusion.parquet.opening import open_path


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("feast_fusion.tables")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyiceberg", None)
    with pytest.raises(MissingExtraError, match=r"feast-fusion\[iceberg\]"):
        open_path("iceberg://lake/pages.vectors", "it")
