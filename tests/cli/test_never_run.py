"""A home in which the data set was never run: said as such, and nothing is left behind."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import main
from tests.cli.reading_commands import READING
from tests.datasets import make_films


def test_a_command_names_data_set_home_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = make_films(tmp_path / "films", n_users=3, n_items=3, n_events=9)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for asked in (*READING, "ingest {folder}"):
        words = asked.format(folder=elsewhere).split()
        said = CliRunner().invoke(main, [*words, "--dataset", str(description)])
        assert said.exit_code == 1, asked
        told = f"Error: data set films was never run in the home {elsewhere / '.fusion'}. Run"
        assert said.stderr.startswith(told) and "--home" in said.stderr, asked
        assert said.stderr.count("\n") == 1
    for asked in ("models list", "cache stats", "redis status", "doctor"):
        CliRunner().invoke(main, [*asked.split(), "--dataset", str(description)])
    assert list(elsewhere.iterdir()) == []
