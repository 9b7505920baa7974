"""What a Feast user sees online, on ours and on stock: the cases of `online_cases`."""

from collections.abc import Callable

import pytest

from tests.feast_fusion.conformance.engines import ENGINES, Repo, check
from tests.feast_fusion.conformance.online_cases import CASES


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_online(open_engine: Callable[[str], Repo], engine: str, name: str) -> None:
    check(CASES[name], open_engine(engine))
