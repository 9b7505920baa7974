"""Trials: the first as it is, the rest repeatable, none lost and none counted twice."""

from pathlib import Path
from typing import get_args

import pytest

from intake.changed_settings import change_settings
from intake.dataset_file import load_dataset
from tests.datasets import make_films
from training.tuning import Outcome, Section, best_of, tune


def quality(changes: list[str]) -> float:
    """Best at a dropout of 0.3."""
    settings = dict(change.split("=") for change in changes)
    return 1 - abs(float(settings.get("ranker.dropout", 0.0)) - 0.3)


class Killed(BaseException):
    """What takes the place of a kill: nothing catches it."""


def test_the_first_trial_changes_nothing_and_later_ones_are_better(tmp_path: Path) -> None:
    told: list[Outcome] = []
    outcomes = tune(tmp_path / "t.db", "films", "ranker", 18, quality, report=told.append)
    assert told == outcomes
    assert [outcome.number for outcome in outcomes] == list(range(18))
    assert (outcomes[0].changes, outcomes[0].quality) == ([], 0.7)
    assert best_of(outcomes).quality > 0.94
    assert all(quality(outcome.changes) == outcome.quality for outcome in outcomes)


def test_a_tuning_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = tune(tmp_path / "whole.db", "films", "ranker", 9, quality)
    n_run = 0

    def killed_in_the_fifth(changes: list[str]) -> float:
        nonlocal n_run
        n_run += 1
        if n_run == 5:
            raise Killed
        return quality(changes)

    with pytest.raises(Killed):
        tune(tmp_path / "cut.db", "films", "ranker", 9, killed_in_the_fifth)
    assert tune(tmp_path / "cut.db", "films", "ranker", 9, killed_in_the_fifth) == whole
    assert n_run == 10, "the killed trial is run again, no other"
    assert tune(tmp_path / "cut.db", "films", "ranker", 7, killed_in_the_fifth) == whole
    assert n_run == 10, "those done before count"


def test_trials_of_other_rows_or_settings_are_not_compared(tmp_path: Path) -> None:
    tune(tmp_path / "t.db", "films", "ranker", 3, quality)
    for name, section in (("shop", "ranker"), ("films", "candidates")):
        other = tune(tmp_path / "t.db", name, section, 1, lambda changes: 0.25)
        assert other == [Outcome(0, [], 0.25)]


@pytest.mark.parametrize("section", get_args(Section))
def test_what_is_drawn_is_a_setting(tmp_path: Path, section: Section) -> None:
    path = make_films(tmp_path / "data", n_users=2, n_items=2, n_events=4)
    dataset = load_dataset(path)
    drawn = tune(tmp_path / "t.db", "films", section, 8, lambda changes: 0.5)[1:]
    for outcome in drawn:
        changed = change_settings(dataset, outcome.changes)
        assert all(change.startswith(f"{section}.") for change in outcome.changes)
        assert changed != dataset
