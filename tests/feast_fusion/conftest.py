"""Every test has a Feast repository of its own, but one process has them all."""

import pytest
from feast import utils


@pytest.fixture(autouse=True)
def forget_other_registries() -> None:
    """Feast keeps resolved features by project name, whichever registry they came from."""
    utils._feature_resolution_cache.clear()
