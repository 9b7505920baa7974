"""A Chinese bookshop: ratings and books as its own system exports them, Chinese headings and all.

    python examples/bookshop/prepare.py

Then: feast-fusion run --dataset examples/bookshop/dataset.toml

The bookshop is made up. Its files are in GB 18030, its times on the clock of Shanghai without
saying so, and its table of books has no times at all.
"""

import argparse
import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

START = datetime(2024, 1, 6, 9)  # on the clock of the shop
DAYS = 120

_KINDS = {
    "武侠": ("江湖", "剑客", "门派", "秘籍"),
    "科幻": ("星际", "人工智能", "时间旅行", "火星"),
    "历史": ("唐朝", "丝绸之路", "皇帝", "战争"),
    "推理": ("侦探", "密室", "失踪", "证据"),
    "美食": ("川菜", "点心", "茶", "家常菜"),
    "诗歌": ("山水", "月亮", "乡愁", "春天"),
}
_AUTHORS = ("林晓", "王安", "陈默", "赵青", "李远", "周宁", "吴桐", "郑一")
_TITLES = ("{}与{}", "{}之后的{}", "寻找{}:{}记", "{}里的{}")


def prepare_bookshop(
    out: Path, *, n_books: int = 240, n_readers: int = 200, n_ratings: int = 9000
) -> None:
    """Writes 图书.csv and 评分.csv to the folder `out`, the same every time."""
    rng = np.random.default_rng(0)
    kinds = list(_KINDS)
    kind = rng.integers(0, len(kinds), n_books)
    author = rng.integers(0, len(_AUTHORS), n_books)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "图书.csv").open("w", newline="", encoding="gb18030") as file:
        rows = csv.writer(file)
        rows.writerow(["书号", "书名", "作者", "类别", "简介"])
        for i, of in enumerate(kind.tolist()):
            words = rng.permutation(_KINDS[kinds[of]])
            title = _TITLES[int(rng.integers(len(_TITLES)))].format(*words[:2])
            about = f"一本关于{words[0]}、{words[1]}和{words[2]}的{kinds[of]}书"
            rows.writerow([f"B{i:04}", title, _AUTHORS[author[i]], kinds[of], about])
    likes = rng.dirichlet(np.full(len(kinds), 0.4), n_readers)
    favourite = rng.integers(0, len(_AUTHORS), n_readers)
    reader = rng.integers(0, n_readers, n_ratings)
    book = rng.integers(0, n_books, n_ratings)
    joy = 6 * likes[reader, kind[book]] + 1.5 * (favourite[reader] == author[book])
    score = np.clip(np.round(2 + joy + rng.normal(0, 0.7, n_ratings)), 1, 5).astype(int)
    minutes = np.sort(rng.integers(0, DAYS * 24 * 60, n_ratings))
    with (out / "评分.csv").open("w", newline="", encoding="gb18030") as file:
        rows = csv.writer(file)
        rows.writerow(["读者", "书号", "评分", "时间"])
        for each in zip(reader.tolist(), book.tolist(), score.tolist(), minutes, strict=True):
            at = START + timedelta(minutes=int(each[3]))
            rows.writerow([f"读者{each[0]}", f"B{each[1]:04}", each[2], f"{at:%Y/%m/%d %H:%M}"])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Writes the two files of the bookshop.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent / "data")
    prepare_bookshop(parser.parse_args().out)


if __name__ == "__main__":
    main()
