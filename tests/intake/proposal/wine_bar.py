"""Orders of a wine bar: times without an offset, ids that nothing describes, rows twice."""

from datetime import datetime, timedelta
from pathlib import Path

from tests.intake.proposal.published_shapes import write_csv

START = datetime(2024, 5, 1)
N_WINES, N_GUESTS, N_UNKNOWN, N_EARLY = 30, 20, 7, 3


def wine_bar(folder: Path) -> None:
    """Orders of wines, of which some are of no known wine and some before the wine's release."""
    write_csv(
        folder / "wines.csv",
        [
            {
                "wine": f"W{at}",
                "released": f"{START - timedelta(days=at):%d.%m.%Y}",
                "name": f"{['Rioja', 'Mosel'][at % 2]} {at // 2}",
                "style": ["dry|red", "red|oak", "oak", "dry"][at % 4],
                "alcohol": 11.5 + at % 4 / 2,
            }
            for at in range(N_WINES)
        ],
    )
    write_csv(
        folder / "guests.csv",
        [{"guest": f"G{at}", "table": ["in", "out"][at % 2]} for at in range(N_GUESTS - 1)],
    )
    orders = [
        {
            "order_id": at,
            "guest": f"G{at % N_GUESTS}",
            "wine": f"W{at % N_WINES}" if at >= N_UNKNOWN else f"gone{at}",
            "ordered": f"{START + timedelta(hours=at + 24):%F %T}",
        }
        for at in range(400)
    ]
    for at in range(N_EARLY):
        orders[-1 - at] |= {"wine": "W0", "ordered": f"{START - timedelta(days=at + 3):%F %T}"}
    write_csv(folder / "orders.csv", [*orders, *orders[20:25]], separator=";")
