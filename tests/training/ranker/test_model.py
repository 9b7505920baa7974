"""The ranker's structure: rows do not see each other, absent things do not matter, all learns."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intake.model_settings import FusionName, RankerConfig
from tests.training.synthetic import make_dataset, make_training_set
from training.losses import bce
from training.ranker.batching import Batch
from training.ranker.feature_encoder import FeatureEncoder
from training.ranker.fusion import build_fusion
from training.ranker.model import InputShape, Ranker, TargetAttention

FUSIONS: list[FusionName] = ["concatenation", "weighted", "gated", "transformer"]


@pytest.fixture(scope="module")
def batch() -> Batch:
    rows = make_training_set(20)
    encoder = FeatureEncoder.fit(rows, np.arange(300), make_dataset())
    return encoder.transform(rows).batch(torch.arange(300, 364))


def ranker_for(batch: Batch, **options: object) -> Ranker:
    torch.manual_seed(0)
    shape = InputShape(
        structured=batch.structured.shape[1],
        categories=int(batch.categories.max()),
        collaborative=batch.collaborative.shape[1],
        user_texts=batch.cosines.shape[1],
        text=batch.texts.shape[2],
        text_spread=0.5,
    )
    return Ranker(RankerConfig.model_validate({"width": 16, "content": 2} | options), shape).eval()


def rows_of(batch: Batch, rows: torch.Tensor | slice) -> Batch:
    return Batch(**{field.name: getattr(batch, field.name)[rows] for field in fields(Batch)})


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_row_scores_the_same_in_any_batch(batch: Batch, fusion: FusionName) -> None:
    ranker = ranker_for(batch, fusion=fusion)
    logits = ranker(batch)
    assert logits.shape == (64,)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ranker(rows_of(batch, order)), logits[order])
    torch.testing.assert_close(ranker(rows_of(batch, slice(7, 8))), logits[7:8])
    assert ranker(rows_of(batch, slice(0, 0))).shape == (0,)


def test_padding_of_the_recent_events_changes_nothing(batch: Batch) -> None:
    ranker = ranker_for(batch)

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        more = torch.zeros_like(tensor[:, :1]).expand(-1, 5, *tensor.shape[2:])
        return torch.cat([tensor, more], dim=1)

    names = [field.name for field in fields(Batch) if field.name.startswith("recent_")]
    longer = replace(batch, **{name: padded(getattr(batch, name)) for name in names})
    torch.testing.assert_close(ranker(longer), ranker(batch))


def test_what_is_masked_is_not_read(batch: Batch) -> None:
    ranker = ranker_for(batch)
    nothing = torch.zeros_like(batch.recent_mask)
    without_text = torch.zeros_like(batch.text_mask)
    absent = replace(batch, recent_mask=nothing, recent_text_mask=nothing, text_mask=without_text)
    garbage = replace(
        absent,
        recent_positives=torch.rand_like(batch.recent_positives),
        recent_values=torch.rand_like(batch.recent_values),
        recent_ages=torch.rand_like(batch.recent_ages),
        texts=torch.rand_like(batch.texts),
    )
    torch.testing.assert_close(ranker(garbage), ranker(absent))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_weight_of_every_fusion_gets_a_gradient(batch: Batch, fusion: FusionName) -> None:
    ranker = ranker_for(batch, fusion=fusion, dropout=0.0)
    labels = (torch.arange(64) % 2).float()
    partly = replace(batch, text_mask=batch.text_mask & (torch.arange(64) % 2 == 0)[:, None])
    torch.autograd.backward(bce(ranker(partly), labels, torch.zeros(64), torch.ones(64)))
    unmoved = [
        name
        for name, weight in ranker.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert unmoved == []


@given(st.sampled_from(FUSIONS), st.lists(st.booleans(), min_size=3, max_size=3))
def test_a_fusion_reads_what_is_present_only(fusion: FusionName, present: list[bool]) -> None:
    torch.manual_seed(0)
    fuse = build_fusion(fusion, 3, 8).eval()
    mask = torch.tensor([present])
    encoded = torch.randn(1, 3, 8)
    found = fuse(encoded * mask[..., None], mask)
    assert found.shape == (1, 8) and torch.isfinite(found).all()
    if any(present):
        at = present.index(True)
        changed = encoded.clone()
        changed[0, at, 0] += 1.0
        assert not torch.allclose(fuse(changed * mask[..., None], mask), found)


def test_attention_follows_the_alike_event() -> None:
    attention = TargetAttention(heads=1, responses=1)
    with torch.no_grad():
        attention.sharpness.fill_(50.0)
        attention.decay.zero_()
    likeness = torch.tensor([[1.0, -1.0, 3.0]])
    responses = torch.tensor([[[1.0], [2.0], [7.0]]])
    mask = torch.tensor([[True, True, False]])
    attended, alike, summed, mean = attention(likeness, responses, torch.zeros(1, 3), mask)[0]
    assert (attended.item(), alike.item()) == pytest.approx((1.0, 1.0))
    assert summed.item() == pytest.approx((1.0 - 2.0) / 12**0.5)
    assert mean.item() == pytest.approx((1.0 - 2.0) / 3)


@pytest.mark.parametrize("modality", ["structured", "collaborative", "text"])
def test_one_modality_alone_is_a_ranker(batch: Batch, modality: str) -> None:
    ranker = ranker_for(batch, modalities=[modality])
    assert list(ranker.towers) == [modality]
    assert ranker(batch).std() > 0
