"""Which histories follow an earlier dataset.toml."""

from pathlib import Path

import polars as pl

from intake.described_histories import former_histories, note_histories
from intake.workspace import open_workspace
from tests.datasets import make_films

VIEWS = ("item_embedding__one", "user_interest__one", "applied_alone", "never_applied")


def test_a_history_is_former_until_it_is_noted_by_the_description_of_now(tmp_path: Path) -> None:
    path = make_films(tmp_path / "data", n_users=3, n_items=3, n_events=9)
    workspace = open_workspace(path, tmp_path / "home")
    for view in VIEWS[:2]:
        folder = workspace.sinks / view
        folder.mkdir(parents=True)
        pl.DataFrame({"user_id": ["u1"]}).write_parquet(folder / "part.parquet")
    (workspace.sinks / VIEWS[2]).mkdir()
    pl.DataFrame({"user_id": []}).write_parquet(workspace.sinks / VIEWS[2] / "part.parquet")
    assert former_histories(workspace, VIEWS) == [*VIEWS[:2]], "nothing is known of them"
    note_histories(workspace, VIEWS)
    assert former_histories(workspace, VIEWS) == []

    text = path.read_text().replace("history = 10", "history = 9")
    path.write_text(f"{text}[ranker]\nepochs = 3\n")
    other = open_workspace(path, workspace.home)
    assert former_histories(other, VIEWS) == [*VIEWS[:2]]
    note_histories(other, VIEWS[:1])
    assert former_histories(other, VIEWS) == [VIEWS[1]]
    assert former_histories(workspace, VIEWS) == [VIEWS[0]]
    path.write_text(f"{text}[ranker]\nepochs = 4\n")
    assert former_histories(open_workspace(path, workspace.home), VIEWS) == [VIEWS[1]]

    workspace.described.write_text('{"by": {}}')  # damaged: once more than is needed
    assert former_histories(other, VIEWS) == [*VIEWS[:2]]
