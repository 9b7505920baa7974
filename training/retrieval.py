"""From a spine (who, what, when and the label) to a training set, through Feast.

Nothing else retrieves history.
"""

from collections.abc import Collection

import pyarrow as pa
from feast import FeatureService, FeatureStore

from feast_fusion.column_names import feature_column, logical_name
from feast_fusion.feature_service import encoder_of, open_service
from feast_fusion.training_set import TrainingSet


def build_training_set(store: FeatureStore, service: str, spine: pa.Table) -> TrainingSet:
    """The features of a feature service, point-in-time correct, beside each row of the spine.

    Parameters
    ----------
    spine : user_id, item_id, event_timestamp and any label columns; row order and count are kept

    Returns
    -------
    TrainingSet
        Columns named `view__feature`; the feature's name alone for the feature of a view of
        vectors, since all vectors of a service are of one encoder (checked here).

    Raises
    ------
    FeatureNotFoundError
        The registry has no such service.
    EncoderMismatchError
        The service mixes vectors of two encoders.
    """
    feature_service = open_service(store, service)
    encoder_of(feature_service)
    found = _retrieve(store, spine, feature_service)
    return found.rename({name: logical_name(name) for name in found.names})


def build_rows_of(
    store: FeatureStore, service: str, spine: pa.Table, *, without: Collection[str] = ()
) -> TrainingSet:
    """As `build_training_set`, of the views of the spine's one entity only.

    Parameters
    ----------
    spine : item_id or user_id, and event_timestamp
    without : names of views that are left out
    """
    (key,) = {"item_id", "user_id"} & set(spine.column_names)
    projections = open_service(store, service).feature_view_projections
    chosen = [
        (projection, field.name)
        for projection in projections
        if projection.name not in without
        and [column.name for column in store.get_feature_view(projection.name).entity_columns]
        == [key]
        for field in projection.features
    ]
    found = _retrieve(store, spine, [f"{projection.name}:{name}" for projection, name in chosen])
    named = {
        feature_column(projection.name, name): feature_column(projection.name_to_use(), name)
        for projection, name in chosen
    }
    return found.rename({name: logical_name(named.get(name, name)) for name in found.names})


def _retrieve(
    store: FeatureStore, spine: pa.Table, features: FeatureService | list[str]
) -> TrainingSet:
    job = store.get_historical_features(entity_df=spine, features=features, full_feature_names=True)
    training_set: TrainingSet = job.to_training_set()
    return training_set
