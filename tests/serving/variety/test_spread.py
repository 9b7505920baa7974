"""What an answer is made of, beside the slow ways that anyone can check."""

from collections import Counter
from dataclasses import replace
from math import log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake.variety_settings import PLAIN, Variety
from serving.catalogue import Catalogue
from serving.filters.item_columns import ItemColumns
from serving.variety.spread import VarietyError, require_columns, spread
from serving.vector_index import VectorIndex
from tests.serving.test_candidates import make_catalogue, user_row
from transformations.collaborative.histories import Histories

N, TOP = 40, 8
GENRES = ("Comedy", "Drama", "Horror", "Western")


def catalogue_of(seed: int) -> Catalogue:
    """Items of up to three genres; some have no text, some no genre."""
    rng, made = np.random.default_rng(seed), make_catalogue(N, seed=seed)
    lists = [[*rng.choice(GENRES, rng.integers(0, 4), replace=False)] for _ in range(N)]
    frame = pl.DataFrame({"genres": [each or None for each in lists]})
    has_text = rng.random(N) > 0.1
    vectors = np.where(has_text[:, None], made.index.vectors, 0).astype(np.float32)
    return replace(
        made,
        columns=ItemColumns(frame, {}, ("genres",)),
        index=VectorIndex.of(vectors, has_text),
    )


def genres(catalogue: Catalogue, row: int) -> list[str]:
    return catalogue.columns.frame["genres"].to_list()[row] or [] if row >= 0 else []


def ordered(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in some order, one of them unknown, and falling scores."""
    rng = np.random.default_rng(seed + 1)
    rows = rng.permutation(N)[:30]
    rows[rng.integers(30)] = -1
    scores = np.sort(rng.dirichlet(np.full(30, 0.3)))[::-1].astype(np.float32)
    return rows, np.maximum(scores, 1e-12)


def history(catalogue: Catalogue, *item_ids: str) -> Histories:
    return Histories.of(user_row(*item_ids), catalogue.items)


@given(seed=st.integers(0, 2**31), n=st.integers(1, 40))
def test_without_variety_the_first_are_the_first(seed: int, n: int) -> None:
    rows, scores = ordered(seed)
    found = spread(make_catalogue(N), rows, scores, None, PLAIN, n)
    assert found.tolist() == list(range(min(n, 30)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.sampled_from([0.1, 0.5, 0.9]))
def test_texts_differ_as_the_greedy_mode_of_determinants_has_them(
    seed: int, strength: float
) -> None:
    """With dimensions to spare: where they run out the logarithms are those of nearly nothing."""
    catalogue, (rows, scores) = catalogue_of(seed), ordered(seed)
    wide = np.random.default_rng(seed).normal(size=(N, 12)).astype(np.float32)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    catalogue = replace(catalogue, index=VectorIndex.of(wide, np.ones(N, dtype=bool)))
    rows = np.where(rows < 0, 0, rows)
    found = spread(catalogue, rows, scores, None, Variety(diversity=strength), TOP)
    kernel = wide[rows].astype(np.float64) @ wide[rows].T.astype(np.float64)
    chosen: list[int] = []
    for _ in range(TOP):
        worth = {}
        for at in set(range(30)) - set(chosen):
            some = [*chosen, at]
            volume = np.linalg.slogdet(kernel[np.ix_(some, some)])[1]
            said = sum(log(scores[each]) for each in some)
            if np.exp(volume) > 1e-9:
                worth[at] = (1 - strength) * said + strength * volume
        if len({rows[at] for at in worth}) < 2:
            return
        chosen.append(max(worth, key=lambda at: worth[at]))
        best = sorted(worth.values())[-2:]
        if best[1] - best[0] < 1e-4:  # float32 may decide otherwise
            return
        assert found[len(chosen) - 1] == chosen[-1]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), most=st.integers(1, 4), diversity=st.sampled_from([0.0, 0.5]))
def test_no_category_has_more_than_its_bound(seed: int, most: int, diversity: float) -> None:
    catalogue, (rows, scores) = catalogue_of(seed), ordered(seed)
    variety = Variety(max_per={"genres": most}, diversity=diversity)
    found = spread(catalogue, rows, scores, None, variety, N).tolist()
    counts = Counter(genre for at in found for genre in genres(catalogue, rows[at]))
    assert max(counts.values(), default=0) <= most
    for at in set(range(30)) - set(found):  # no room for those that are left out
        assert any(counts[genre] == most for genre in genres(catalogue, rows[at]))
    if not diversity:
        assert found == sorted(found)
        taken: Counter[str] = Counter()
        expected = []
        for at in range(30):
            own = genres(catalogue, rows[at])
            if all(taken[genre] < most for genre in own):
                expected.append(at)
                taken.update(own)
        assert found == expected


def divergence(wanted: Counter[str], given_: Counter[str]) -> float:
    total, own = sum(wanted.values()), sum(given_.values())
    found = 0.0
    for genre, count in wanted.items():
        share = count / total
        mixed = 0.99 * (given_[genre] / own if own else 0) + 0.01 * share
        found += share * log(share / mixed)
    return found


def parts(catalogue: Catalogue, rows: list[int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        own = genres(catalogue, row)
        for genre in own:
            found[genre] += 1 / len(own)  # type: ignore[assignment]
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.sampled_from([0.2, 0.6, 1.0]))
def test_categories_come_in_the_proportions_of_what_was_liked(seed: int, strength: float) -> None:
    catalogue, (rows, scores) = catalogue_of(seed), ordered(seed)
    liked = history(catalogue, "i1", "i5", "i9", "i12")
    variety = Variety(calibrated={"genres": strength})
    found = spread(catalogue, rows, scores, liked, variety, TOP).tolist()
    wanted = parts(catalogue, [1, 5, 9, 12])
    if not wanted:
        assert found == list(range(TOP))
        return
    for place, at in enumerate(found):
        before = found[:place]

        def worth(each: int, before: list[int] = before) -> float:
            shown = parts(catalogue, [rows[other] for other in [*before, each]])
            lost = (len(before) + 1) * divergence(wanted, shown)
            return (1 - strength) * log(scores[each]) - strength * lost

        left = set(range(30)) - set(before)
        assert worth(at) >= max(map(worth, left)) - 1e-6


def test_what_was_disliked_is_no_proportion_and_nobody_has_none() -> None:
    catalogue, (rows, scores) = catalogue_of(3), ordered(3)
    variety = Variety(calibrated={"genres": 0.8})
    plain = list(range(TOP))
    disliked = Histories.of(user_row("i1", positives=(0,)), catalogue.items)
    for nobody in (None, history(catalogue), disliked):
        assert spread(catalogue, rows, scores, nobody, variety, TOP).tolist() == plain
    assert spread(catalogue, rows, scores, history(catalogue, "i1"), variety, TOP).tolist() != plain


def test_a_column_without_categories_is_refused_by_name() -> None:
    columns = catalogue_of(0).columns
    require_columns(columns, Variety(max_per={"genres": 1}))
    for field, variety in (
        ("max_per", Variety(max_per={"year": 2})),
        ("calibrated", Variety(calibrated={"year": 0.2})),
    ):
        with pytest.raises(
            VarietyError, match="got column 'year', expected one of genres"
        ) as found:
            require_columns(columns, variety)
        assert found.value.field == field
