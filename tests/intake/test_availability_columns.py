"""The columns of availability: what they become, what is rejected, what no description may say."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from feast_fusion.errors import SchemaError
from tests.intake.data_files import THEN, TOML, Files, times

DECLARED = 'available_from = "starts"\navailable_until = "ends"\nhidden = "withdrawn"\n[users]'


@pytest.fixture
def on_sale(files: Files) -> Files:
    files.toml = TOML.replace("[users]", DECLARED)
    files.items |= {
        "starts": times(THEN, None, datetime(2090, 1, 1, tzinfo=UTC)),
        "ends": ["2024-01-01T01:00:00+01:00", None, "2031-01-01Z"],
        "withdrawn": ["True", None, "no"],
    }
    return files


def test_null_is_no_bound_and_the_future_is_allowed(on_sale: Files) -> None:
    items = on_sale.validate().items
    assert items["starts"].to_pylist() == [THEN, None, datetime(2090, 1, 1, tzinfo=UTC)]
    assert items["ends"].to_pylist() == [THEN, None, datetime(2031, 1, 1, tzinfo=UTC)]
    assert items["withdrawn"].to_pylist() == [True, None, False]


def test_a_time_that_nobody_lives_to_see_is_no_end(on_sale: Files) -> None:
    far = datetime(9999, 12, 31, tzinfo=UTC)
    first, last = datetime(1700, 1, 1, tzinfo=UTC), datetime(2199, 12, 31, tzinfo=UTC)
    given = (
        ["9999-12-31Z", "0001-01-01Z", None],
        pa.array([far, None, THEN], pa.timestamp("s", "UTC")),
    )
    for ends in given:
        on_sale.items["ends"] = ends
        found = on_sale.validate().items["ends"].to_pylist()
        assert found[0] >= last
        assert found[1] in (first, None)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("ends", "soon", "unparsable ends"),
        ("ends", "2031-01-01 00:00", "ends without zone"),
        ("withdrawn", "perhaps", "withdrawn is neither true nor false"),
    ],
)
def test_what_cannot_be_read_is_rejected(
    on_sale: Files, column: str, value: str, reason: str
) -> None:
    on_sale.items[column] = [value, *on_sale.items[column][1:]]
    on_sale.interactions = {name: each[1:] for name, each in on_sale.interactions.items()}
    data = on_sale.validate()
    assert data.report.rejects["items"] == {reason: 1}
    assert f"such as {value!r}" in data.report.examples["items"][reason]
    assert data.items["item_id"].to_pylist() == ["b", "c"]


@pytest.mark.parametrize("flags", [[1, 0, None], [True, False, None], [1.0, 0.0, None]])
def test_flags_may_be_numbers(on_sale: Files, flags: list[object]) -> None:
    on_sale.items["withdrawn"] = flags
    assert on_sale.validate().items["withdrawn"].to_pylist() == [True, False, None]


def test_a_column_of_availability_has_no_other_use(on_sale: Files) -> None:
    on_sale.toml = on_sale.toml.replace('hidden = "withdrawn"', 'hidden = "year"')
    with pytest.raises(SchemaError, match="'year' is read already"):
        on_sale.validate()
