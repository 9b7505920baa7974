"""What a Feast user sees offline, on ours and on stock: the cases of the `offline_` modules."""

from collections.abc import Callable

import pytest

from tests.feast_fusion.conformance.engines import ENGINES, Repo, check
from tests.feast_fusion.conformance.offline_call_cases import CASES as CALLS
from tests.feast_fusion.conformance.offline_cases import CASES as SOURCES
from tests.feast_fusion.conformance.offline_type_cases import CASES as TYPES

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*experimental feature.*:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:.*fetch_arrow_table.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Discarding nonzero nanoseconds:UserWarning"),
]

CASES = {**SOURCES, **CALLS, **TYPES}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_offline(open_engine: Callable[[str], Repo], engine: str, name: str) -> None:
    check(CASES[name], open_engine(engine))
