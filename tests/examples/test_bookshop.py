"""The Chinese bookshop: read as its system exports it, by hand and by `feast-fusion init`."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from examples.bookshop.prepare import prepare_bookshop
from intake.dataset_file import load_dataset
from intake.validation import validate_dataset

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "bookshop"


@pytest.fixture
def bookshop(tmp_path: Path) -> Path:
    (tmp_path / "dataset.toml").write_bytes((EXAMPLE / "dataset.toml").read_bytes())
    prepare_bookshop(tmp_path / "data", n_books=60, n_readers=30, n_ratings=500)
    return tmp_path


def test_it_is_whole_and_clean(bookshop: Path) -> None:
    data = validate_dataset(load_dataset(bookshop / "dataset.toml"), bookshop / "rejects")
    assert data.report.read == {"items": 60, "interactions": 500}
    assert not any(data.report.rejects.values())
    first = data.interactions["event_timestamp"][0].as_py()
    assert first > datetime(2024, 1, 6, 1, tzinfo=UTC)  # nine in the morning in Shanghai
    assert first < datetime(2024, 1, 7, 1, tzinfo=UTC)
    assert max(data.items["event_timestamp"].to_pylist()) < first
    shown = data.items.to_pylist()[0]
    assert set(shown["书名"]) & set(shown["简介"]) and shown["作者"]


def test_init_understands_its_headings(bookshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bookshop)
    made = CliRunner().invoke(main, ["init", "--yes", "--out", "found.toml", "data"])
    assert made.exit_code == 0, made.output
    found, meant = (load_dataset(bookshop / name) for name in ("found.toml", "dataset.toml"))
    assert found.items.columns == meant.items.columns
    assert (found.items.title, found.items.valid_from) == ("书名", "beginning")
    assert found.interactions.columns == meant.interactions.columns
    assert found.interactions.positive == meant.interactions.positive
    assert found.interactions.time.format == meant.interactions.time.format
    assert found.items.encoding == found.interactions.encoding == "gb18030"
