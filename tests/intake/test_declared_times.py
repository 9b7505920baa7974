"""Times as dataset.toml says that they are meant."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from intake.tables.section import TimeReading
from intake.time_readings import ColumnOf
from intake.timestamps import parse_times
from tests.intake.data_files import NOW, Files

MEANT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
SECONDS = 1_700_000_000


def read(values: Any, **reading: Any) -> tuple[list[datetime | None], dict[str, int]]:
    column = pa.chunked_array([values if isinstance(values, pa.Array) else pa.array(values)])
    found = parse_times(column, ColumnOf("t", "file: t", "items"), NOW, TimeReading(**reading))
    times = pa.array(found.time).cast(pa.timestamp("us", "UTC")).to_pylist()
    return times, {words: int(bad.sum()) for words, bad in found.defects.items() if bad.any()}


@pytest.mark.parametrize(
    "values",
    [
        [SECONDS],
        [float(SECONDS)],
        [str(SECONDS)],
        [f" {SECONDS}.0 "],
        pa.array([SECONDS], pa.uint64()),
        pa.array([SECONDS], pa.timestamp("ms", "UTC")),
        pa.array([SECONDS], pa.timestamp("ns")),
        pa.array([SECONDS]).cast(pa.decimal128(20)),
    ],
)
def test_numbers_of_any_type_count_in_the_unit(values: Any) -> None:
    assert read(values, unit="s") == ([MEANT], {})


def test_fractions_and_finer_units_end_at_microseconds() -> None:
    assert read([SECONDS + 0.25], unit="s") == ([MEANT.replace(microsecond=250_000)], {})
    nanos = read([SECONDS * 10**9 + 1_999], unit="ns")
    assert nanos == ([MEANT.replace(microsecond=1)], {})


def test_what_is_no_number_or_no_time_leaves_with_its_reason() -> None:
    _, defects = read([str(SECONDS), "soon", None, "9" * 30], unit="s")
    assert defects == {"null t": 1, "unparsable t": 2}
    _, defects = read([float(SECONDS), float("nan"), 1e300], unit="s")
    assert defects == {"unparsable t": 2}
    _, defects = read([SECONDS, 10**15], unit="s")
    assert defects == {"t out of range": 1}


def test_a_zone_is_that_of_clocks_and_summer_time_counts() -> None:
    clock = [datetime(2024, 1, 15, 8), datetime(2024, 7, 15, 8), datetime(2024, 10, 27, 2, 30)]
    there = [
        datetime(2024, 1, 15, 7, tzinfo=UTC),
        datetime(2024, 7, 15, 6, tzinfo=UTC),
        datetime(2024, 10, 27, 0, 30, tzinfo=UTC),  # of the two, the first
    ]
    assert read(clock, zone="Europe/Berlin") == (there, {})
    assert read([f"{t:%F %T}" for t in clock], zone="Europe/Berlin") == (there, {})
    form = {"format": "%d.%m.%Y %H:%M", "zone": "Europe/Berlin"}
    assert read([f"{t:%d.%m.%Y %H:%M}" for t in clock], **form) == (there, {})
    assert read([t.date() for t in clock[:1]], zone="Asia/Shanghai") == (
        [datetime(2024, 1, 14, 16, tzinfo=UTC)],
        {},
    )


def test_times_that_say_their_zone_keep_it() -> None:
    assert read(["2023-11-14T22:13:20Z", "2023-11-14T22:13:20"], zone="Asia/Shanghai") == (
        [MEANT, datetime(2023, 11, 14, 14, 13, 20, tzinfo=UTC)],
        {},
    )
    assert read(pa.array([MEANT], pa.timestamp("ms", "UTC")), unit="s") == ([MEANT], {})


def test_texts_and_numbers_have_the_format() -> None:
    assert read(["Tue Nov 14 14:13:20 -0800 2023"], format="%a %b %d %H:%M:%S %z %Y")[0] == [MEANT]
    day = datetime(2023, 11, 14, tzinfo=UTC)
    assert read([20231114, None], format="%Y%m%d", zone="UTC")[1] == {"null t": 1}
    assert read([20231114], format="%Y%m%d", zone="UTC") == ([day], {})
    _, defects = read(["14/11/2023", "2023"], format="%d/%m/%Y", zone="UTC")
    assert defects == {"unparsable t": 1}
    assert read(["14/11/2023"], format="%d/%m/%Y")[1] == {"t without zone": 1}


def test_a_wrong_unit_is_shown_with_both_readings(files: Files) -> None:
    files.toml = files.toml.replace("[interactions]", '[interactions]\ntime = {unit = "s"}')
    files.interactions["event_timestamp"] = [SECONDS * 1_000] * 3
    with pytest.raises(ValueError, match=r"got the year 55840 .*read as seconds") as error:
        files.validate()
    assert '`time = {unit = "ms"}` in [interactions]' in str(error.value)
