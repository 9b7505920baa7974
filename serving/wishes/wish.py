"""One clause of a query, understood: how near each item comes to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.answers import Recognition, Understood
from serving.catalogue import Catalogue
from serving.vector_index import Vectors
from serving.wishes.clauses import Clause
from serving.wishes.reading import By, Reading

# All in deviations of what speaks for the candidates of a request, see `Ranking`. What is named
# outweighs everything else; among the items that have it, taste decides, and a little how near they
# are to the whole text. Measured by `evaluation.named_values`.
NAMED, MEANT, SAID, NEAR, STILL_NEAR = 8.0, 4.0, 4.0, 1.0, 0.25
# Nearness is cut there: no item is more than so many deviations nearer than the average one.
_LIMIT = 4.0


_HOW: dict[By, Recognition] = {"whole": "name", "part": "name", "standing for": "meaning"}


@dataclass(frozen=True)
class Wish:
    """What a clause wants or refuses.

    Attributes
    ----------
    nearness : (n,) deviations by which the items' vectors are nearer to the clause than the
        average item's, None where it was not encoded
    meant : by run of words that means values, their places among the catalogue's
    """

    clause: Clause
    reading: Reading
    nearness: Vectors | None
    meant: Sequence[tuple[int, ...]]

    def named(self, catalogue: Catalogue) -> Vectors:
        """(n,) by what is named or meant and an item has."""
        found = np.zeros(len(catalogue), dtype=np.float32)
        for mention in self.reading.mentions:
            found[mention.rows] += NAMED
        for codes in self.meant:
            found[catalogue.wording.values.rows(codes)] += MEANT
        return found

    def told(self, catalogue: Catalogue) -> Vectors:
        """(n,) by the words that an item has of those that name nothing, and by its vector."""
        found = SAID * catalogue.wording.texts.share(self.reading.rest)
        if self.nearness is not None:
            least = -_LIMIT if self.clause.sense == "wanted" else 0.0  # to be far is no merit
            weight = np.float32(NEAR if self.reading.rest else STILL_NEAR)
            found += weight * self.nearness.clip(least, _LIMIT)
        return found

    def understood(self, catalogue: Catalogue) -> list[Understood]:
        """The values that are named, then those that are meant."""
        values, sense = catalogue.wording.values.values, self.clause.sense
        named = [
            Understood(value.column, value.text, sense, _HOW[mention.by])
            for mention in self.reading.mentions
            for value in mention.values
        ]
        meant = [values[code] for codes in self.meant for code in codes]
        return named + [Understood(each.column, each.text, sense, "meaning") for each in meant]
