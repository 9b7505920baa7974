"""What the declarations depend on: one data set, its workspace, encoders and writers."""

import os

from feast_fusion.errors import SchemaError
from intake.workspace import open_workspace
from transformations.declared_encoders import identify_every
from transformations.writing import identify_item_writer, identify_user_writer

_MISSING = [name for name in ("FUSION_DATASET", "FUSION_HOME") if name not in os.environ]
if _MISSING:
    raise SchemaError(
        f"{' and '.join(_MISSING)} not set: the declarations describe one data set. "
        'Run eval "$(feast-fusion env)" in this shell first (add --dataset PATH for your own).'
    )

WORKSPACE = open_workspace(
    os.environ["FUSION_DATASET"], os.environ["FUSION_HOME"], os.environ.get("FUSION_TABLES")
)
DATASET = WORKSPACE.dataset
# By their ids, so that one that is declared twice counts once; the main one comes first.
ENCODERS = {encoder.encoder_id: encoder for _, encoder in identify_every(DATASET)}
ENCODER = next(iter(ENCODERS.values()))
ITEM_WRITER, USER_WRITER = identify_item_writer(DATASET), identify_user_writer(DATASET)
