"""What a registered feature service names, and what its columns are called outside Feast."""

from feast import FeatureService, FeatureStore

from feast_fusion.column_names import split_view
from feast_fusion.errors import EncoderMismatchError, FeatureNotFoundError


def open_service(store: FeatureStore, name: str) -> FeatureService:
    """The feature service of that name.

    Raises
    ------
    FeatureNotFoundError
        The registry has no such service.
    """
    services = {service.name: service for service in store.list_feature_services()}
    if name not in services:
        raise FeatureNotFoundError(
            f"feature service {name!r}: got no such service, expected one of {sorted(services)}. "
            "Run feast apply, or name one of these."
        )
    return services[name]


def vector_views(service: FeatureService) -> list[tuple[str, str]]:
    """Each view of vectors that the service names, without its encoder, and the encoder's id."""
    found = []
    for projection in service.feature_view_projections:
        view, encoder = split_view(projection.name)
        holds_vectors = any(f.vector_index or f.name == view for f in projection.features)
        if encoder is not None and holds_vectors:
            found.append((view, encoder))
    return found


def encoder_of(service: FeatureService) -> str | None:
    """The encoder id in the names of the service's views, None when it has no vectors.

    Raises
    ------
    EncoderMismatchError
        The service has vectors of two encoders.
    """
    found = sorted({encoder for _, encoder in vector_views(service)})
    if len(found) > 1:
        raise EncoderMismatchError(
            f"feature service {service.name}: got vectors of the encoders {found}, expected those "
            "of one. Name views of a single encoder in the service and run feast apply."
        )
    return found[0] if found else None
