"""A shop as its event log shows it: views, carts and purchases, and prices that change.

    python examples/shop/prepare.py

Then: feast-fusion run --dataset examples/shop/dataset.toml

The shop is made up, in the shape in which shops publish theirs: one CSV of events and one of
products, a row of a product for each price it has had. Customers come in visits; in a visit they
look at products of one category, mostly of the brands and the price that they like, put some in
the cart and buy some of these. What is cheap for its category sells better.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2024, 3, 1, tzinfo=UTC)
DAYS = 60
CATEGORIES = {
    "running shoes": 90.0,
    "rain jackets": 120.0,
    "backpacks": 70.0,
    "tents": 210.0,
    "water bottles": 18.0,
    "head torches": 35.0,
    "sleeping bags": 110.0,
    "hiking poles": 55.0,
}
BRANDS = ("Arven", "Bergtal", "Calder", "Dunmore", "Elko", "Fjord & Sons")
MATERIALS = ("recycled", "lightweight", "waterproof", "insulated", "foldable")
DEVICES = ("phone", "computer", "tablet")


@dataclass(frozen=True)
class Product:
    """What a product is, and (time, price) of each price it has had."""

    name: str
    category: str
    brand: int
    prices: list[tuple[datetime, float]]

    def price(self, at: datetime) -> float:
        """The price at a time."""
        return [price for since, price in self.prices if since <= at][-1]


def make_products(n: int, rng: np.random.Generator) -> list[Product]:
    """Products of every category, each with one to three prices."""
    products = []
    for i in range(n):
        category = list(CATEGORIES)[i % len(CATEGORIES)]
        brand = int(rng.integers(len(BRANDS)))
        price = round(CATEGORIES[category] * float(rng.lognormal(0, 0.4)), 2)
        changes = np.sort(rng.uniform(0, DAYS, rng.integers(0, 3)))
        prices = [(START - timedelta(days=30), price)]
        for day in changes.tolist():
            price = round(price * float(rng.choice([0.7, 0.85, 1.1, 1.3])), 2)
            prices.append((START + timedelta(days=day), price))
        material = MATERIALS[i // len(CATEGORIES) % len(MATERIALS)]
        name = f"{BRANDS[brand]} {material} {category} {i // 40 + 1}"
        products.append(Product(name, category, brand, prices))
    return products


def visits(
    products: list[Product], n_users: int, n_visits: int, rng: np.random.Generator
) -> Iterator[tuple[datetime, int, str, str, int]]:
    """(time, user, device, what was done, product) of every event, visit by visit."""
    category = np.array([list(CATEGORIES).index(each.category) for each in products])
    brand = np.array([each.brand for each in products])
    likes = rng.dirichlet(np.full(len(CATEGORIES), 0.4), n_users)
    favours = rng.dirichlet(np.full(len(BRANDS), 0.3), n_users)
    device_of = rng.integers(0, len(DEVICES), n_users)
    for day in np.sort(rng.uniform(0, DAYS, n_visits)).tolist():
        at = (START + timedelta(days=day)).replace(microsecond=0)
        user = int(rng.integers(n_users))
        own = device_of[user] if rng.random() < 0.8 else rng.integers(len(DEVICES))
        price = np.array([each.price(at) / CATEGORIES[each.category] for each in products])
        weight = (0.02 + favours[user][brand]) * np.exp(-price)
        weight *= category == rng.choice(len(CATEGORIES), p=likes[user])
        seen = rng.choice(
            len(products), min(int(rng.integers(1, 6)), int((weight > 0).sum())), False,
            weight / weight.sum(),
        )  # fmt: skip
        for item in seen.tolist():
            for what in ("view", "cart", "purchase"):
                if what != "view" and rng.random() > 0.9 * (weight[item] / weight.max()) ** 0.5:
                    break
                yield at, user, DEVICES[own], what, item
                at += timedelta(seconds=int(rng.integers(5, 90)))


def prepare_shop(
    out: Path, *, n_products: int = 320, n_users: int = 300, n_visits: int = 4000
) -> None:
    """Writes products.csv and events.csv to the folder `out`, the same every time."""
    rng = np.random.default_rng(0)
    products = make_products(n_products, rng)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "products.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["product_id", "valid_from", "name", "category", "brand", "price"])
        for i, each in enumerate(products):
            for since, price in each.prices:
                words = [each.name, each.category, BRANDS[each.brand]]
                rows.writerow([f"{i:05}", since.strftime("%F %T"), *words, price])
    with (out / "events.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["event_time", "event_type", "product_id", "user_id", "price", "device"])
        for at, user, device, what, item in visits(products, n_users, n_visits, rng):
            price = products[item].price(at)
            rows.writerow([at.strftime("%F %T"), what, f"{item:05}", f"c{user}", price, device])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Writes the two files of the shop.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    prepare_shop(parser.parse_args().out)


if __name__ == "__main__":
    main()
