"""What the tests of the extras share."""

from collections.abc import Iterator

import pytest
import ray

from tests.scale.object_store import Lake, open_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One object store for all tests; each has names of its own in it."""
    with open_lake(tmp_path_factory.mktemp("lake")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster that is there before the commands and after them."""
    context = ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()
