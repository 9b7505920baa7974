"""Every error this project raises on purpose. A message says what, got, expected and the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager


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


class NotOfferedError(FeastFusionError, NotImplementedError):
    """A call of Feast that this plug-in does not answer."""


class MissingExtraError(FeastFusionError, ImportError):
    """A package of an extra that is not installed was needed."""


def schema_error(what: str, *, got: object, expected: object, remedy: str) -> SchemaError:
    """A `SchemaError` whose message has the four parts every message of this project has."""
    return SchemaError(f"{what}: got {got}, expected {expected}. {remedy}")


@contextmanager
def extra_required(extra: str) -> Iterator[None]:
    """Imports of an extra's packages: one that is not installed ends in `MissingExtraError`."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise missing_extra(error.name, extra) from error


def missing_extra(package: str | None, extra: str) -> MissingExtraError:
    """The error that a package of an extra is not installed."""
    return MissingExtraError(
        f"got no package {package!r}, expected those of the extra [{extra}]. "
        f"Run: pip install 'feast-fusion[{extra}]'"
    )
