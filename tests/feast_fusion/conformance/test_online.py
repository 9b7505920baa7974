"""What a Feast user sees online, on ours and on stock: the cases of the `online_` modules."""

from collections.abc import Callable

import pytest

from tests.feast_fusion.conformance.engines import ENGINES, Repo, check
from tests.feast_fusion.conformance.online_cases import CASES as REQUESTS
from tests.feast_fusion.conformance.online_schema_cases import CASES as SCHEMAS

CASES = {**REQUESTS, **SCHEMAS}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_online(open_engine: Callable[[str], Repo], engine: str, name: str) -> None:
    check(CASES[name], open_engine(engine))
