"""How much of what words say an item says too: BM25, beside its formula."""

import math

import polars as pl
import pytest

from serving.wishes.item_words import ItemWords

TITLES = ["space robots", "robots and robots", "a quiet day in space", "Space", None]
K1, B = 0.5, 0.3


@pytest.fixture(scope="module")
def texts() -> ItemWords:
    return ItemWords.of([pl.Series("title", TITLES)], [], len(TITLES))


def bm25(words: list[str], item: int) -> float:
    """The share of what could be scored, by the formula of Lucene's BM25."""
    documents = [(title or "").lower().replace("robots", "robot").split() for title in TITLES]
    average = sum(map(len, documents)) / len(documents)
    document, score, most = documents[item], 0.0, 0.0
    for word in words:
        n = sum(word in each for each in documents)
        rarity = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
        count = document.count(word)
        score += rarity * count / (count + K1 * (1 - B + B * len(document) / average))
        most += rarity
    return score / most


@pytest.mark.parametrize("words", [["robot"], ["space", "robot"], ["robot", "unknown"], ["day"]])
def test_shares_are_those_of_the_formula(texts: ItemWords, words: list[str]) -> None:
    found = texts.share(words)
    assert found == pytest.approx([bm25(words, at) for at in range(len(TITLES))], abs=1e-5)
    assert found.max() < 1


def test_unknown_words_are_in_no_item(texts: ItemWords) -> None:
    assert not texts.share(["unknown"]).any()
    assert not texts.share([]).any()
    assert not ItemWords.of([], [], 3).share(["robot"]).any()


def test_words_of_names_alone_are_not_common() -> None:
    found = ItemWords.of([pl.Series("title", ["stone"])], [pl.Series("cast", ["Al Stone"])], 1)
    assert found.is_common("stone")
    assert not found.is_common("al")
    assert not found.is_common("unknown")
