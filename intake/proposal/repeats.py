"""Whether users choose the same items again, as far as a log without ratings and types says it."""

import polars as pl

from intake.proposal.event_columns import EventColumns
from intake.proposal.proposed_section import SECTION, ProposedSection
from intake.proposal.seen_table import SeenTable

_MANY = 0.3  # of the events: without repeats nothing is learnt from them


def propose_repeats(log: SeenTable, events: EventColumns) -> ProposedSection | None:
    """`[candidates] repeats`, where it should be true.

    Who rates an item again has changed their mind, and who looks again has not chosen it: such
    logs are left as they are.
    """
    if events.value or events.truth or events.event_type:
        return None
    pair = [events.user, events.item]
    columns = [*pair, events.time]
    rows = pl.DataFrame({name: pl.Series(log.table[name]) for name in columns}).unique()
    share = 1 - rows.n_unique(pair) / max(1, len(rows))
    if share < _MANY:
        return None
    why = f"{share:.0%} of the events are of an item that the user had before."
    then = "Without it, what a user had is not offered again."
    return ProposedSection({"repeats": True}, {SECTION: [why], "repeats": [then]})
