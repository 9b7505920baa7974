"""`prepare` names each file of rejected rows, with examples, also when nothing has changed."""

import re
from pathlib import Path

import pyarrow.parquet as pq
from click.testing import CliRunner

from cli import main
from tests.intake.proposal.wine_bar import N_UNKNOWN, wine_bar


def test_rejected_rows_are_named_with_examples_and_their_file(tmp_path: Path) -> None:
    files, described = tmp_path / "files", tmp_path / "dataset.toml"
    files.mkdir()
    wine_bar(files)
    made = CliRunner().invoke(main, ["init", str(files), "--yes", "--out", str(described)])
    line = f"Rejected {N_UNKNOWN} rows of interactions: unknown item_id, such as 'gone0', 'gone1'"
    assert line in made.output
    command = ["prepare", "--dataset", str(described), "--home", str(tmp_path / "home")]
    for first in ("Read ", "Unchanged: "):
        said = CliRunner().invoke(main, command).output
        assert first in said and line in said
        assert "duplicate, such as rows 400, 401, 402." in said
        (place,) = re.findall(r"They are in (\S+interactions\.parquet), each", said)
        reasons = pq.read_table(place)["reason"].to_pylist()
        assert reasons.count("unknown item_id") == N_UNKNOWN and len(reasons) == N_UNKNOWN + 5
