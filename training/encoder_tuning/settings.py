"""How an encoder is tuned."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TuningSettings:
    """All that decides a tuning beside the data, the model and the seed.

    Attributes
    ----------
    steps : of learning from choices
    masked_steps : of masked language modelling on item texts, before them
    slate : choices that are drawn for a step; their items are told apart in it
    behaviours : of the drawn choices, those whose behaviour text is encoded too
    n_together : at most this many choices of a step are predicted from items liked before them
    temperature : of the softmax over cosines
    learning_rate : the highest, of AdamW
    rank : of the low-rank changes (LoRA; Hu 2021, arXiv:2106.09685); None: all weights change
    targets : linear layers that they change, by the last part of their names; empty for all
    layers : how many of the transformer's layers learn, those nearest to its end; more than it has:
        all, and its embeddings
    forget : share of the words of an item's text that a step leaves out, so that no word alone
        tells the item
    widths : leading numbers of a vector that must serve too (Matryoshka; Kusupati 2022,
        arXiv:2205.13147, equation 1)
    """

    steps: int = 60
    masked_steps: int = 0
    slate: int = 96
    behaviours: int = 16
    n_together: int = 2048
    temperature: float = 0.2
    learning_rate: float = 1e-3
    rank: int | None = 16
    targets: tuple[str, ...] = ()
    layers: int = 2
    forget: float = 0.3
    widths: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)
