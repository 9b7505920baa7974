"""A model written as JSON and arrays is the same model."""

import json

import numpy as np
import pytest
import torch

from intake.model_settings import NextItemConfig
from tests.transformations.collaborative.logs import random_log
from training.next_item.chooser import Chooser
from training.next_item.item_side import ItemSide
from training.next_item.model import NextItemModel, signal_names
from training.next_item.model_file import arrays_of, build_model, describe_model
from training.next_item.sequence_fit import SequenceFitter, score_histories
from training.next_item.sequence_model import SequenceModel
from training.ranker.text_projection import TextProjection

EVENTS = random_log()


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("has_text", [False, True])
def test_what_is_read_back_scores_alike(repeats: bool, has_text: bool) -> None:
    torch.manual_seed(0)
    config = NextItemConfig.model_validate(
        {"repeats": repeats, "sequence": {"width": 8, "epochs": 1}}
    )
    sequence = SequenceModel(config.sequence, torch.randn(len(EVENTS.items), 3))
    SequenceFitter(sequence, EVENTS, seed=0).fit(100, epochs=1)
    texts = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    side = ItemSide(
        TextProjection.fit(texts, 4) if has_text else None,
        {"item_profile__genres": ("a", "b")},
        {"item_profile__year": (1990.0, 1995.5)},
    )
    chooser = Chooser(config.chooser, len(signal_names(repeats)))
    model = NextItemModel(config, 1234, EVENTS.items, side, sequence, chooser)
    read = build_model(json.loads(json.dumps(describe_model(model))), arrays_of(model))
    assert read.config == config and read.fitted_until == 1234
    assert read.items.ids.equals(EVENTS.items.ids)
    assert (read.side.vocabularies, read.side.knots) == (side.vocabularies, side.knots)
    if side.projection is not None and read.side.projection is not None:
        np.testing.assert_array_equal(
            read.side.projection.project(texts), side.projection.project(texts)
        )
    codes = torch.arange(len(EVENTS.items)).numpy()
    rows = np.arange(90, 100)
    histories = EVENTS.histories(EVENTS.user[rows], EVENTS.time[rows], 20)
    np.testing.assert_array_equal(
        score_histories(read.sequence.on(codes, sequence.side), histories),
        score_histories(sequence.on(codes, sequence.side), histories),
    )
    signals, context = torch.randn(2, 5, len(signal_names(repeats))), torch.randn(2, 6)
    with torch.inference_mode():
        assert torch.equal(read.chooser(signals, context), chooser(signals, context))
