"""News as a portal logs them: what was shown, what was clicked; an article lives for two days.

    python examples/news/prepare.py

Then: feast-fusion run --dataset examples/news/dataset.toml

The portal is made up, in the shape of MIND: news.tsv, and behaviors.tsv with a row per page shown.
Most articles of the last part were never seen before it, so that only what an article says can tell
who will read it. `prepare.py` writes one line per article shown (events.tsv).
"""

import argparse
import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2024, 9, 2, tzinfo=UTC)
DAYS = 21
LIFE_DAYS = 2.0
SHOWN = 8  # articles on a page

_TOPICS = {
    "sports": (
        ("football", "the cup final", "a late goal", "the league table"),
        ("tennis", "the open", "a fifth set", "the world ranking"),
        ("cycling", "the mountain stage", "the yellow jersey", "a breakaway"),
    ),
    "business": (
        ("banking", "interest rates", "the central bank", "savers"),
        ("energy", "the price of gas", "wind farms", "a new grid"),
        ("retail", "holiday sales", "a supermarket chain", "online shops"),
    ),
    "science": (
        ("space", "a moon landing", "the new telescope", "an asteroid"),
        ("health", "a vaccine trial", "better sleep", "the heart"),
        ("climate", "melting glaciers", "a record summer", "coral reefs"),
    ),
    "culture": (
        ("film", "the festival", "a debut director", "a long sequel"),
        ("music", "a world tour", "the string quartet", "a lost recording"),
        ("books", "the prize shortlist", "a first novel", "a new translation"),
    ),
}
_FORMS = (
    "What {} means for {}",
    "{} after {}: five questions",
    "Why {} is about {}",
    "{}, {} and what comes next",
)


def prepare_news(
    out: Path, *, n_articles: int = 420, n_readers: int = 250, n_pages: int = 2500
) -> None:
    """Writes news.tsv and events.tsv to the folder `out`, the same every time."""
    rng = np.random.default_rng(0)
    kinds = [(topic, *words) for topic, each in _TOPICS.items() for words in each]
    kind = rng.integers(0, len(kinds), n_articles)
    published = np.sort(rng.uniform(-LIFE_DAYS, DAYS, n_articles))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "news.tsv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["news_id", "published", "category", "subcategory", "title"])
        for i, of in enumerate(kind.tolist()):
            topic, name, *words = kinds[of]
            form = _FORMS[int(rng.integers(len(_FORMS)))]
            first, second = rng.permutation(words)[:2].tolist()
            title = form.format(first, second)
            since = _milliseconds(START + timedelta(days=published[i]))
            rows.writerow([f"N{i}", since, topic, name, title[0].upper() + title[1:]])
    likes = rng.dirichlet(np.full(len(kinds), 0.25), n_readers)
    with (out / "events.tsv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerow(["user", "news_id", "time", "action"])
        for day in np.sort(rng.uniform(0, DAYS, n_pages)).tolist():
            reader = int(rng.integers(n_readers))
            living = np.flatnonzero((published < day) & (published > day - LIFE_DAYS))
            page = rng.choice(living, min(SHOWN, len(living)), replace=False)
            interest = likes[reader][kind[page]]
            clicked = rng.random(len(page)) < 0.02 + 0.9 * interest
            at = _milliseconds(START + timedelta(days=day))
            for item, is_click in zip(page.tolist(), clicked.tolist(), strict=True):
                rows.writerow([f"U{reader}", f"N{item}", at, "click" if is_click else "skip"])


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Writes the two files of the news.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    prepare_news(parser.parse_args().out)


if __name__ == "__main__":
    main()
