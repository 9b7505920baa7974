"""`[ranker]` and `[candidates]` of dataset.toml: form and fitting of the models, each said once."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

FusionName = Literal["concatenation", "weighted", "gated", "transformer"]
LossName = Literal["bce", "bpr", "joint"]
Modality = Literal["structured", "collaborative", "text"]

MODALITIES: tuple[Modality, ...] = ("structured", "collaborative", "text")

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
LearningRate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of dataset.toml: frozen, and without keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RankerConfig(Section):
    """`[ranker]`: what says how much an item is liked, and what an answer is ordered for.

    Attributes
    ----------
    fusion : how the encoded modalities become one vector
    modalities : which of them are read
    width, heads : size of an encoded modality, heads of the attention over recent events
    history : newest events of a user whose texts are attended to, of those that [activity] history
        keeps; the collaborative numbers read them all
    content : leading directions of a text vector that are read as they are; all directions serve to
        compare texts, but read as they are they identify the item, whose labels are then memorised
    dropout : share of the units that a training step leaves out
    text_width : numbers of a projected text vector
    categories : values of a categorical column that are told apart, the most frequent ones
    category_buckets : parts into which all other values of a column fall, by their hash
    negatives : items drawn against each event of implicit data; part of the training set
    loss : bce for probabilities, bpr for the order of a user's items, joint for half of each
    epochs : passes over the training rows at most
    patience : epochs without a better validation AUC after which training stops
    batch_size : rows of a training step, of all processes together
    learning_rate, weight_decay : of AdamW
    average : decay of the running mean of the weights; the mean is the model
    truncate : share of the rows that forget part of their history while training
    satisfaction, value : weight of being liked, and of an item's value, beside being chosen
    """

    fusion: FusionName = "gated"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = MODALITIES
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 32
    heads: Positive = 2
    history: Positive = 50
    content: Annotated[int, Field(ge=0)] = 0
    dropout: Dropout = 0.2
    text_width: Positive = 64
    categories: Positive = 1024
    category_buckets: Positive = 64
    negatives: Positive = 4
    loss: LossName = "bce"
    epochs: Positive = 20
    patience: Positive = 3
    batch_size: Annotated[int, Field(ge=2)] = 1024
    learning_rate: LearningRate = 2e-3
    weight_decay: NotNegative = 1e-2
    average: Dropout = 0.99
    truncate: Share = 0.0
    satisfaction: NotNegative = 0.05
    value: NotNegative = 0.0


class SequenceConfig(Section):
    """`[candidates.sequence]`: the encoder of a user's newest events.

    Attributes
    ----------
    width, heads, layers : size
    length : events that are read
    dropout : share of the units that a training step leaves out
    forget : share of items whose own embedding is left out of a batch
    disliked : weight of an event that was not liked as an answer
    epochs, more_epochs : passes of the first version, and of each later one, which goes on from the
        one before
    replay : share of the earlier events that each pass of a later version reads again
    batch_size : windows of a training step
    learning_rate, weight_decay : of AdamW
    """

    width: Annotated[int, Field(ge=8, multiple_of=4)] = 64
    heads: Positive = 2
    layers: Positive = 1
    length: Annotated[int, Field(ge=2)] = 50
    dropout: Dropout = 0.3
    forget: Dropout = 0.1
    disliked: Share = 0.3
    epochs: Positive = 10
    more_epochs: Positive = 5
    replay: Share = 0.4
    batch_size: Positive = 32
    learning_rate: LearningRate = 3e-3
    weight_decay: NotNegative = 1e-2

    @field_validator("heads")
    @classmethod
    def _heads_divide_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width")
        if width is not None and width % heads:
            raise ValueError(f"it must divide width, which is {width}")
        return heads


class ChooserConfig(Section):
    """`[candidates.chooser]`: what orders the candidates.

    Attributes
    ----------
    width, dropout : of its network
    epochs, batch_size, learning_rate, weight_decay : how it is fitted to slates
    strata : (up to this place, so many drawn) of the other items of a slate
    """

    width: Annotated[int, Field(ge=4)] = 32
    dropout: Dropout = 0.0
    epochs: Positive = 4
    batch_size: Positive = 128
    learning_rate: LearningRate = 5e-3
    weight_decay: NotNegative = 1e-2
    strata: tuple[tuple[int, int], ...] = ((40, 20), (150, 15), (500, 12), (1_000_000, 6))


class NextItemConfig(Section):
    """`[candidates]`: how the items that may be chosen next are found and ordered.

    Attributes
    ----------
    refit_every : events between two versions of the item-item signals, or a twentieth of all before
        them where that is more; part of the prepared sources
    history : newest events of a user that speak for an item, of those that [activity] history
        keeps; part of the prepared sources
    depth : candidates that are ordered
    repeats : whether an item that the user had may be recommended again
    warm_up : share of the events before the first version of the sequence encoder
    phases : versions of the sequence encoder behind the first
    """

    refit_every: Positive = 5000
    history: Positive = 50
    depth: Annotated[int, Field(ge=10)] = 500
    repeats: bool = False
    warm_up: Annotated[float, Field(gt=0, lt=1)] = 0.4
    phases: Positive = 3
    sequence: SequenceConfig = SequenceConfig()
    chooser: ChooserConfig = ChooserConfig()
