"""Ten data sets in the shapes in which they are published, small and made up.

In each a user's taste decides what is chosen or liked, and an attribute of the item shows it.
"""

import csv
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

START = datetime(2019, 3, 1, tzinfo=UTC)
KINDS = ["Guitar", "Lamp", "Tent", "Teapot"]
N_USERS, N_ITEMS = 40, 48


class Event(NamedTuple):
    user: int
    item: int
    when: datetime
    fits: bool


def kind_of(item: int) -> str:
    return KINDS[item % len(KINDS)]


def events(n: int, *, choose: float = 0.5, seed: int = 3) -> list[Event]:
    """n events by time; with probability `choose` a user picks an item of the kind that fits."""
    rng = np.random.default_rng(seed)
    made = []
    for minute in np.sort(rng.choice(60 * 24 * 120, n, replace=False)):
        user, item = int(rng.integers(N_USERS)), int(rng.integers(N_ITEMS))
        if rng.random() < choose:
            item = item - item % len(KINDS) + user % len(KINDS)
        fits = item % len(KINDS) == user % len(KINDS)
        made.append(Event(user, item, START + timedelta(minutes=int(minute)), fits))
    return made


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path: Path, rows: Sequence[dict[str, Any]], **options: Any) -> None:
    has_header, separator = options.get("header", True), options.get("separator", ",")
    with path.open("w", newline="", encoding=options.get("encoding", "utf-8")) as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        if has_header:
            writer.writeheader()
        writer.writerows(rows)


def amazon(folder: Path) -> None:
    """Reviews and products, both JSON lines; products have no time, ids look like numbers."""
    reviews = [
        {
            "reviewerID": f"A{user:013d}",
            "asin": f"{item:010d}",
            "overall": 5.0 if fits else float(1 + user % 3),
            "reviewText": 'It is "good".\nI would buy it again.',
            "unixReviewTime": int(when.timestamp()),
            "reviewTime": f"{when:%m %d, %Y}",
        }
        for user, item, when, fits in events(600)
    ]
    products = [
        {
            "asin": f"{item:010d}",
            "title": f"{kind_of(item)} number {item}",
            "brand": f"Brand {item % 5}" if item % 7 else "",
            "category": ["Home", kind_of(item)],
            "price": f"${item}.99" if item % 3 else "",
            "rank": item if item % 2 else [f"{item} in Home"],
            "also_buy": [],
        }
        for item in range(N_ITEMS)
    ]
    write_lines(folder / "reviews_Home.json", reviews)
    write_lines(folder / "meta_Home.json", products)


def yelp(folder: Path) -> None:
    """Reviews with zoneless times, businesses with nested attributes, users."""
    write_lines(
        folder / "review.json",
        [
            {
                "review_id": f"r{at:022d}",
                "user_id": f"u{user:022d}",
                "business_id": f"b{item:022d}",
                "stars": 5.0 if fits else 2.0,
                "useful": at % 3,
                "text": "Nice place to be in the evening, would come again.",
                "date": f"{when:%F %T}",
            }
            for at, (user, item, when, fits) in enumerate(events(400))
        ],
    )
    write_lines(
        folder / "business.json",
        [
            {
                "business_id": f"b{item:022d}",
                "name": f"{kind_of(item)} place {item}",
                "city": ["Tucson", "Tampa"][item % 2],
                "stars": 3.5 + item % 3 / 2,
                "review_count": 10 + item,
                "attributes": {"WiFi": "free"} if item % 2 else None,
                "categories": f"{kind_of(item)}, Shopping",
            }
            for item in range(N_ITEMS)
        ],
    )
    write_lines(
        folder / "user.json",
        [
            {
                "user_id": f"u{user:022d}",
                "name": f"Name {user % 20}",
                "review_count": user,
                "yelping_since": f"2012-01-{1 + user % 28:02d} 10:00:00",
                "fans": user % 4,
            }
            for user in range(N_USERS)
        ],
    )


def goodreads(folder: Path) -> None:
    """Dates such as Tue Nov 17 11:37:35 -0800 2009, numbers as texts, empty texts."""
    write_lines(
        folder / "goodreads_interactions.json",
        [
            {
                "user_id": f"{user:032x}",
                "book_id": str(1000 + item),
                "review_id": f"{at:032x}",
                "is_read": True,
                "rating": 5 if fits else 2,
                "date_added": f"{when:%a %b %d %H:%M:%S} -0800 {when:%Y}",
                "read_at": "",
                "started_at": "" if at % 2 else f"{when:%a %b %d %H:%M:%S} -0800 {when:%Y}",
            }
            for at, (user, item, when, fits) in enumerate(events(400))
        ],
    )
    write_lines(
        folder / "goodreads_books.json",
        [
            {
                "book_id": str(1000 + item),
                "title": f"The {kind_of(item)} of {item} days",
                "publication_year": str(1980 + item % 30) if item % 5 else "",
                "num_pages": str(100 + item),
                "average_rating": "3.90",
                "ratings_count": str(item),
                "language_code": ["eng", "ger"][item % 2],
                "authors": [{"author_id": str(item % 9), "role": ""}],
                "description": f"A long story of a {kind_of(item)} that nobody has ever seen.",
            }
            for item in range(N_ITEMS)
        ],
    )


def hm(folder: Path) -> None:
    """Purchases by day, ids that begin with zeros, many attributes."""
    write_csv(
        folder / "transactions_train.csv",
        [
            {
                "t_dat": f"{when:%F}",
                "customer_id": f"{user:064x}",
                "article_id": f"0{108775000 + item}",
                "price": 0.05 + item / 1000,
                "sales_channel_id": 1 + user % 2,
            }
            for user, item, when, _ in events(500, choose=0.9)
        ],
    )
    write_csv(
        folder / "articles.csv",
        [
            {
                "article_id": f"0{108775000 + item}",
                "product_code": 108775 + item // 4,
                "prod_name": f"{kind_of(item)} top {item}",
                "product_type_name": kind_of(item),
                "colour_group_name": ["Black", "White", "Red"][item % 3],
                "detail_desc": f"Soft {kind_of(item)} in organic cotton, with a pocket and a hood.",
            }
            for item in range(N_ITEMS)
        ],
    )
    write_csv(
        folder / "customers.csv",
        [
            {
                "customer_id": f"{user:064x}",
                "FN": "1.0" if user % 2 else "",
                "club_member_status": ["ACTIVE", "PRE-CREATE"][user % 2],
                "age": "" if user % 9 == 0 else float(18 + user),
                "postal_code": f"{user % 8:064x}",
            }
            for user in range(N_USERS)
        ],
    )


def mind(folder: Path) -> None:
    """News without a line of names; behaviours have the shown news with -1 where it was clicked."""
    rng = np.random.default_rng(5)
    rows = []
    for at, (user, item, when, fits) in enumerate(events(300, choose=0.9)):
        shown = [f"N{each}-0" for each in rng.choice(N_ITEMS, 4, replace=False) if each != item]
        shown.insert(at % 3, f"N{item}-{int(fits)}")
        rows.append(
            {
                "id": at + 1,
                "user": f"U{user}",
                "time": f"{when:%m/%d/%Y} {when.hour % 12 or 12}:{when:%M:%S %p}",
                "history": f"N{item}" if at % 4 else "",
                "impressions": " ".join(shown),
            }
        )
    write_csv(folder / "behaviors.tsv", rows, header=False, separator="\t")
    news = [
        {
            "id": f"N{item}",
            "category": kind_of(item).lower(),
            "subcategory": f"{kind_of(item).lower()}{item % 3}",
            "title": f"Why the {kind_of(item)} {item} is back",
            "abstract": f"Everybody speaks of the {kind_of(item)} that came back last week again.",
            "url": f"https://assets.msn.com/labs/mind/AA{item:05d}.html",
            "entities": '[{"Label": "Elvis", "Type": "P"}]',
            "more": "[]",
        }
        for item in range(N_ITEMS)
    ]
    lines = ["\t".join(map(str, row.values())) for row in news]
    (folder / "news.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def last_fm(folder: Path) -> None:
    """One log without a line of names, with raw quotes in the titles, and no table of tracks."""
    lines = []
    for user, item, when, _ in events(500, choose=0.9):
        artist = f'"{kind_of(item)}" band {item % 8}' if item % 5 == 0 else f"{kind_of(item)} band"
        track = f'Song 12" {item}' if item % 6 == 0 else f"{kind_of(item)} song {item}"
        fields = [f"user_{user:06d}", f"{when:%FT%TZ}", f"{item % 8:08x}-a", artist]
        lines.append("\t".join([*fields, f"{item:08x}-b7ffd2af", track]))
    (folder / "userid-timestamp-artid-artname-traid-traname.tsv").write_text(
        "\n".join(lines) + "\n"
    )


def tmall(folder: Path) -> None:
    """Chinese: actions of several types at times of Shanghai; products in GB 18030."""
    write_csv(
        folder / "rec_tmall_log.csv",
        [
            {
                "item_id": 500 + item,
                "user_id": 9000 + user,
                "action": ["click", "click", "cart", "alipay"][at % 4],
                "vtime": f"{when + timedelta(hours=8):%F %T}",
            }
            for at, (user, item, when, _) in enumerate(events(500, choose=0.9))
        ],
    )
    names = {"Guitar": "吉他", "Lamp": "台灯", "Tent": "帐篷", "Teapot": "茶壶"}
    write_csv(
        folder / "rec_tmall_product.csv",
        [
            {
                "item_id": 500 + item,
                "title": f"{names[kind_of(item)]} 新款 {item} 号",
                "category": f"{item % len(KINDS)}-{names[kind_of(item)]}",
                "brand_id": f"b{item % 6}",
                "seller_id": f"s{item % 9}",
            }
            for item in range(N_ITEMS)
        ],
        encoding="gb18030",
    )


def steam(folder: Path) -> None:
    """Recommendations true or false, games with a date of release, tags in another file."""
    write_csv(
        folder / "recommendations.csv",
        [
            {
                "app_id": 10 * (item + 1),
                "helpful": at % 2,
                "funny": 0,
                "date": f"{when:%F}",
                "is_recommended": "true" if fits else "false",
                "hours": 10.5 + at % 50,
                "user_id": user,
                "review_id": at,
            }
            for at, (user, item, when, fits) in enumerate(events(400))
        ],
    )
    write_csv(
        folder / "games.csv",
        [
            {
                "app_id": 10 * (item + 1),
                "title": f"{kind_of(item)} Simulator {item}",
                "date_release": f"201{item % 8}-0{1 + item % 9}-15",
                "win": "true" if item % 9 else "false",
                "rating": ["Positive", "Mixed"][item % 2],
                "positive_ratio": 50 + item,
                "user_reviews": 1000 + item,
                "price_final": 9.99 + item % 4,
            }
            for item in range(N_ITEMS)
        ],
    )
    write_csv(
        folder / "users.csv",
        [{"user_id": u, "products": 3 + u, "reviews": u % 5} for u in range(N_USERS)],
    )


def dressipi(folder: Path) -> None:
    """Views and purchases in two files, features of items in long form, no titles."""
    made = events(500, choose=0.9)
    for name, chosen in (("train_sessions", made), ("train_purchases", made[::5])):
        write_csv(
            folder / f"{name}.csv",
            [
                {"session_id": user + 1, "item_id": 2000 + item, "date": f"{when:%F %T}.373"}
                for user, item, when, _ in chosen
            ],
        )
    rows = [
        {"item_id": 2000 + item, "feature_category_id": category, "feature_value_id": value}
        for item in range(N_ITEMS)
        for category, value in ((56, 300 + item % len(KINDS)), (62, 400 + item % 5))
    ]
    write_csv(folder / "item_features.csv", rows)


def retail(folder: Path) -> None:
    """Baskets in Latin-1: one file with prices and descriptions, customers with a fraction."""
    write_csv(
        folder / "online_retail.csv",
        [
            {
                "InvoiceNo": 536365 + at // 3,
                "StockCode": f"{85123 + item}A",
                "Description": f"{kind_of(item).upper()} CAFÉ SET {item}",
                "Quantity": 1 + at % 6,
                "InvoiceDate": f"{when.month}/{when.day}/{when:%Y} {when.hour}:{when:%M}",
                "UnitPrice": 2.55,
                "CustomerID": "" if at % 40 == 0 else f"{17850 + user}.0",
                "Country": "United Kingdom",
            }
            for at, (user, item, when, _) in enumerate(events(500, choose=0.9))
        ],
        encoding="latin-1",
    )


SHAPES: dict[str, Callable[[Path], None]] = {
    made.__name__: made
    for made in (amazon, yelp, goodreads, hm, mind, last_fm, tmall, steam, dressipi, retail)
}
