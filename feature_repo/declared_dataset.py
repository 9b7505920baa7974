"""What the declarations depend on: one data set, its workspace, encoder and writers."""

import os

from feast_fusion.errors import SchemaError
from intake.workspace import open_workspace
from transformations.embedder import identify
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
ENCODER = identify(DATASET)
ITEM_WRITER, USER_WRITER = identify_item_writer(DATASET), identify_user_writer(DATASET)
