"""A report with every section, whose names try to break out of the page."""

from evaluation.report.document import (
    Ablation,
    Ablations,
    Bin,
    Bounds,
    ChoiceScores,
    ColdItems,
    Contender,
    Curve,
    Named,
    NextPositive,
    Point,
    Pointwise,
    Ratio,
    Report,
    Slice,
    Spread,
    TradeOff,
    Varied,
    Worth,
)

NASTY = '<script src="http://evil.example/x.js">alert("1")</script> & | *b* [a](http://b)'


def bounds(mean: float, width: float = 0.012) -> Bounds:
    return Bounds(mean=mean, low=mean - width, high=mean + width)


def contender(name: str, ndcg: float, kind: str = "baseline") -> Contender:
    return Contender(
        name=name,
        kind=kind,  # type: ignore[arg-type]
        ndcg=bounds(ndcg),
        hit_rate=bounds(2 * ndcg),
        reciprocal_rank=bounds(0.9 * ndcg),
        recall={200: min(7 * ndcg, 0.86), 500: min(9 * ndcg, 0.96)},
        distinct=int(4000 * ndcg),
        distinct_60=int(1800 * ndcg),
        novelty=None if kind == "reference" else 20 * ndcg,
    )


def make_report(dataset: str = "films") -> Report:
    contenders = [
        contender("ours, as served", 0.135, "ours"),
        contender("popularity", 0.039),
        contender("item-kNN, tf-idf", 0.084),
        contender("iALS", 0.085),
        contender("EASE", 0.088),
        contender("self-attention, no text", 0.098),
    ]
    names = [each.name for each in contenders]
    found = NextPositive(
        part="test",
        repeats=False,
        n_queries=2000,
        n_users=133,
        n_items=1682,
        n_fitted=90_000,
        contenders=contenders,
        ratio=Ratio(
            ours=names[0], best_baseline=names[-1], ratio=Bounds(mean=1.38, low=1.27, high=1.49)
        ),
        sources={
            "item-item": {200: 0.78, 500: 0.92},
            "sequence": {200: 0.83, 500: 0.95},
            NASTY: {200: 0.6, 500: 0.87},
        },
        slices=[
            Slice(by=by, label=label, n_queries=n, ndcg=dict.fromkeys(names, 0.02 * n**0.3))
            for by in ("positive events of the item", "events of the user")
            for label, n in (("0", 32), ("1-9", 129), ("10-49", 504), ("50 or more", 1335))
        ],
    )
    tenths = [(at + 0.5) / 10 for at in range(10)]
    return Report(
        dataset=dataset,
        version="0.1.0",
        created="2026-11-26T09:00:00+00:00",
        n_events=100_000,
        n_users=943,
        n_items=1682,
        next_positive=[found],
        pointwise=Pointwise(
            n_rows=10_000,
            metrics={
                "ranker": {"auc": 0.7972, "log_loss": 0.5379, "ece": 0.0113},
                "popularity": {"auc": 0.6494},
                NASTY: {"auc": float("nan"), "log_loss": 0.6, "ece": 0.02},
            },
            reliability={
                "ranker": [Bin(predicted=at, observed=at**1.05, n_rows=900) for at in tenths],
                NASTY: [Bin(predicted=at, observed=0.2 + 0.6 * at, n_rows=900) for at in tenths],
            },
        ),
        named=[
            Named(column="genres", example="horror", n_values=9, having=0.98, taste=0.7),
            Named(column=NASTY, example=NASTY, n_values=1, having=1.0, taste=None),
        ],
        cold_items=ColdItems(
            share=0.15,
            n_items=169,
            n_queries=700,
            ndcg={
                "ours": [0.158, 0.161, 0.149],
                "text cosine": [0.117, 0.121, 0.112],
                "chance": [0.027, 0.029, 0.026],
                "true popularity": [0.201, 0.205, 0.19],
            },
        ),
        text=[
            Worth(
                measure="AUC",
                n_rows=10_000,
                having=[0.794, 0.795],
                lacking=[0.793, 0.792],
                difference=Bounds(mean=0.002, low=0.0005, high=0.0035),
            ),
            Worth(
                measure=f"recall, {NASTY}",
                n_rows=700,
                having=[0.61],
                lacking=[None],
                difference=Bounds(mean=0.01, low=-0.002, high=0.02),
            ),
        ],
        ablations=Ablations(
            part="validation",
            recipe=[0.1274, 0.1268, 0.1271],
            variants=[
                Ablation(
                    name="without text",
                    ndcg=[0.119, 0.1182, 0.1195],
                    difference=Bounds(mean=-0.0082, low=-0.0121, high=-0.0043),
                ),
                Ablation(
                    name=NASTY,
                    ndcg=[0.1273, 0.127, 0.1268],
                    difference=Bounds(mean=-0.0001, low=-0.002, high=0.002),
                ),
            ],
        ),
        learning=[
            Curve(
                name=name,
                points=[
                    Point(x=n, y=top * (n / 90_000) ** 0.3)
                    for n in (11_250, 22_500, 45_000, 90_000)
                ],
            )
            for name, top in (("ours", 0.135), ("EASE", 0.088), (NASTY, 0.05))
        ],
        choice_scores=ChoiceScores(
            n_answers=1900,
            ece=0.0021,
            greatest=0.61,
            first=Bin(predicted=0.05, observed=0.048, n_rows=1900),
            bins=[
                Bin(predicted=0.01 * at, observed=0.011 * at, n_rows=1900) for at in range(1, 11)
            ],
        ),
        varied=[
            Varied(
                aim=aim,
                column=column,
                points=[
                    Spread(
                        strength=0.2 * at,
                        ndcg=bounds(0.13 - 0.001 * at),
                        difference=bounds(-0.001 * at, 0.003),
                        distance=0.6 + 0.02 * at,
                        divergence=None if column is None else 0.8 - 0.1 * at,
                        distinct=560 + at,
                        few=0.1 * at,
                    )
                    for at in range(3)
                ],
            )
            for aim, column in (("diversity", None), ("calibrated", NASTY))
        ],
        trade_offs=[
            TradeOff(
                term="value",
                value=f"price, {NASTY}",
                points=[
                    Point(x=0.1, y=5.2, label="1 : 1"),
                    Point(x=0.125, y=4.1, label="2 : 1"),
                    Point(x=0.135, y=3.2, label=NASTY),
                ],
            )
        ],
    )
