"""What `feast apply` reads: Feast collects the objects of this module.

It is the only module that Feast scans (see .feastignore). Scanned under their own names the others
would be imported a second time, and every view would then exist twice.
"""

import json

from feast import Project

from feature_repo.declared_dataset import DATASET
from feature_repo.entities import *  # noqa: F403
from feature_repo.feature_views import *  # noqa: F403
from feature_repo.on_demand_views import *  # noqa: F403
from feature_repo.services import *  # noqa: F403
from feature_repo.services import RANKERS
from feature_repo.sources import *  # noqa: F403
from feature_repo.vector_views import BY_ENCODER
from intake.preparation import describe_tables
from transformations.names import DESCRIPTION_TAG

project = Project(
    name=DATASET.name,
    description=f"feast-fusion on the data set {DATASET.name}",
    tags={DESCRIPTION_TAG: json.dumps(describe_tables(DATASET))},
)
# Feast finds an object by a name of this module, and does not look into lists.
for _each in (*RANKERS, *(view for found in BY_ENCODER.values() for view in found.values())):
    globals()[_each.name] = _each
