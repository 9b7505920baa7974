"""What the tests of the extras share."""

from collections.abc import Iterator

import pytest

from tests.scale.object_store import Lake, open_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One object store for all tests; each has names of its own in it."""
    with open_lake(tmp_path_factory.mktemp("lake")) as running:
        yield running
