"""The page of behaviours says what the cases say."""

from tests.feast_fusion.conformance.table import DOCUMENT, rendered


def test_the_page_is_that_of_the_cases() -> None:
    remedy = "run: python -m tests.feast_fusion.conformance.table"
    assert DOCUMENT.read_text() == rendered(), remedy
