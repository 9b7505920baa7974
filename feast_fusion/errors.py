"""Every error this project raises on purpose. A message says what, got, expected and the remedy."""


class FeastFusionError(Exception):
    """Base of all errors that feast-fusion raises itself."""


class SchemaError(FeastFusionError, ValueError):
    """A file, table or description does not have the shape it must have."""


class EncoderMismatchError(FeastFusionError, ValueError):
    """Vectors of two different encoders were about to meet."""


class FeatureNotFoundError(FeastFusionError, LookupError):
    """A feature, view, entity or artifact that was asked for does not exist."""


class StoreUnavailableError(FeastFusionError, ConnectionError):
    """A store (Redis, a registry, a sink) cannot be reached or used."""


def schema_error(what: str, *, got: object, expected: object, remedy: str) -> SchemaError:
    """A `SchemaError` whose message has the four parts every message of this project has."""
    return SchemaError(f"{what}: got {got}, expected {expected}. {remedy}")
