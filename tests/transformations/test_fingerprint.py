"""What decides prepared sources is in their fingerprint, and nothing else."""

from pathlib import Path

import pytest

from intake.dataset_file import load_dataset
from intake.event import EVENTS
from intake.posted.posted_row import ROWS
from tests.datasets import make_films
from transformations.fingerprint import fingerprint_inputs

TABLES = {"items": "0a", "users": None, "interactions": "0b"}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_films(tmp_path_factory.mktemp("films"), n_users=3, n_items=3, n_events=9)


def fingerprint(description: Path, more: str = "") -> str:
    changed = description.with_name("changed.toml")
    changed.write_text(description.read_text() + more)
    return fingerprint_inputs(
        load_dataset(changed), TABLES, EVENTS.empty_table(), ROWS.empty_table()
    )


@pytest.mark.parametrize(
    ("more", "is_same"),
    [
        ("[candidates]\nrefit_every = 100\n", False),
        ("[candidates]\nrefit_every = 5000\n", True),
        ("[candidates]\ndepth = 100\n[candidates.chooser]\nepochs = 1\n", True),
        ("[ranker]\nfusion = 'weighted'\n", True),
    ],
)
def test_only_the_schedule_of_versions_is_part_of_the_sources(
    description: Path, more: str, is_same: bool
) -> None:
    assert (fingerprint(description, more) == fingerprint(description)) is is_same
