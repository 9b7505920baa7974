"""The workspace that a benchmark measures, and its texts."""

import os

import polars as pl

from cli.workspace_options import example_dataset
from feast_fusion.encoding.encoder import TextEncoder
from feast_fusion.errors import FeatureNotFoundError
from intake.workspace import Workspace, open_workspace
from transformations.names import ITEMS, USER_SNAPSHOTS
from transformations.text import render_behaviours, render_items


def measured_workspace() -> Workspace:
    """The workspace that the environment names, else the demo's."""
    home = os.environ.get("FUSION_HOME", ".fusion")
    workspace = open_workspace(os.environ.get("FUSION_DATASET") or example_dataset(home), home)
    if not workspace.models.is_dir():
        raise FeatureNotFoundError(
            f"{workspace.models}: got no such folder, expected a trained workspace. Run "
            "make demo, or name another by FUSION_DATASET and FUSION_HOME."
        )
    return workspace


def texts_of(workspace: Workspace, encoder: TextEncoder) -> list[str]:
    """The text of each item version, and the newest behaviour text of each user."""
    dataset = workspace.dataset
    items = pl.read_parquet(workspace.source(ITEMS)).to_arrow()
    users = (
        pl.read_parquet(workspace.source(USER_SNAPSHOTS))
        .sort("event_timestamp")
        .group_by("user_id", maintain_order=True)
        .last()
    )
    behaviours = render_behaviours(
        users["liked"].to_list(),
        users["disliked"].to_list(),
        max_tokens=min(dataset.activity.behaviour_tokens, encoder.identity.max_tokens),
        count_tokens=encoder.count_tokens,
        n_special_tokens=encoder.n_special_tokens,
    )
    return [text for text in [*render_items(dataset.items.text, items), *behaviours] if text]
