"""A candidate encoder beside the main one: made ready for versions of the model, and trained on."""

from typing import TYPE_CHECKING

from cli.data import retrieve_training_set
from cli.feast_repository import feast, open_store
from cli.materializing import materialize_new_rows
from cli.ranker import promote_trained, trained_version
from cli.terminal import say
from feast_fusion.column_names import split_view
from feast_fusion.errors import FeastFusionError, schema_error
from intake.workspace import Workspace
from transformations.names import SERVICE, ranker_service

if TYPE_CHECKING:
    from feast import BatchFeatureView, FeatureStore


def candidate_id(workspace: Workspace, name: str) -> str:
    """The encoder id of a candidate of dataset.toml.

    Raises
    ------
    SchemaError
        There is no candidate of that name.
    """
    from transformations.declared_encoders import identify  # half a second to import

    dataset = workspace.dataset
    candidates = dataset.encoder.candidates
    if name not in candidates:
        raise schema_error(
            f"{dataset.path}",
            got=f"no [encoder.candidates.{name}]",
            expected=f"one of {sorted(candidates)}" if candidates else "a candidate",
            remedy=f'Add [encoder.candidates.{name}] with its keys, such as model = "...".',
        )
    return identify(dataset, candidates[name]).encoder_id


def beside_main(workspace: Workspace, encoder_id: str | None) -> str | None:
    """An encoder id, None where it is that of the encoder that was applied as the main one."""
    from feast_fusion.feature_service import encoder_of, open_service

    main = encoder_of(open_service(open_store(workspace), SERVICE))
    return None if encoder_id == main else encoder_id


def is_ready(workspace: Workspace, encoder_id: str) -> bool:
    """Whether an encoder is declared, and its vectors are in the stores."""
    from feast_fusion.parquet.opening import has_rows  # seconds to import
    from transformations.declared_encoders import find_encoder

    try:
        find_encoder(workspace.dataset, encoder_id)
        views = vector_views_of(open_store(workspace), encoder_id)
    except FeastFusionError:
        return False
    return bool(views) and all(has_rows(workspace.sink(view.name)) for view in views)


def make_ready(workspace: Workspace, redis: str, encoder_id: str) -> None:
    """Apply the views of a declared encoder and fill them; what is there is not made again."""
    if not vector_views_of(open_store(workspace), encoder_id):
        feast(workspace, redis, "apply", "--skip-source-validation")
    views = vector_views_of(open_store(workspace), encoder_id)
    materialize_new_rows(workspace, redis, views)


def vector_views_of(store: "FeatureStore", encoder_id: str) -> "list[BatchFeatureView]":
    """The registered views of vectors of an encoder."""
    views = store.list_batch_feature_views()
    return [view for view in views if split_view(view.name)[1] == encoder_id]


def train_candidate(workspace: Workspace, encoder_id: str) -> str:
    """The version on the vectors of an encoder that is ready; fitted unless it is there."""
    training_set = retrieve_training_set(workspace, ranker_service(encoder_id))
    training_set.save(workspace.training_set_of(encoder_id))
    say(f"{len(training_set):,} rows with vectors of {encoder_id}.")
    version = trained_version(workspace, training_set, encoder_id)
    promote_trained(workspace, version, always=False)
    return version
