"""What a request for features means in Redis: which keys, which hash fields, which decoders."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any, TypeAlias

from feast import FeatureService, Field, ValueType
from feast.errors import FeastError, FeatureNameCollisionError
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.online_stores.helpers import _mmh3
from feast.infra.online_stores.redis import _versioned_fv_name
from feast.utils import _get_online_request_context

from feast_fusion.column_names import feature_column
from feast_fusion.errors import FeatureNotFoundError, schema_error
from feast_fusion.online.codec.value_decoding import Decoder, decoder_of

Features: TypeAlias = FeatureService | Sequence[str]

_MAX_PLANS = 256


def feature_field(view: str, feature: str) -> bytes:
    """The hash field of a feature; `view` is the name with its version, if it has one."""
    name: bytes = _mmh3(f"{view}:{feature}")
    return name


def timestamp_field(view: str) -> bytes:
    """The hash field of the event timestamp of a view's row."""
    return f"_ts:{view}".encode()


def created_field(view: str) -> bytes:
    """The hash field of the created timestamp of a view's row; only this project writes it."""
    return f"_created:{view}".encode()


@dataclass(frozen=True)
class ViewPlan:
    """One view of a request.

    Attributes
    ----------
    name : as the request calls it, with a version where it names one
    ttl : None where rows never expire
    columns : name of each column in the answer
    stored : hash fields of the features, then of the event timestamp
    """

    name: str
    ttl: timedelta | None
    columns: tuple[str, ...]
    decoders: tuple[Decoder, ...]
    stored: tuple[bytes, ...]


@dataclass(frozen=True)
class KeyGroup:
    """The views that share a Redis key, which therefore are one HMGET per entity.

    Attributes
    ----------
    join_keys : as stored
    requested : as the request calls them, which differs where a view is aliased
    types : of the keys
    """

    join_keys: tuple[str, ...]
    requested: tuple[str, ...]
    types: tuple[ValueType, ...]
    views: tuple[ViewPlan, ...]

    @property
    def fields(self) -> list[bytes]:
        """Hash fields of all views, one view after the other."""
        return [field for view in self.views for field in view.stored]


@dataclass(frozen=True)
class ReadPlan:
    """A request for features, resolved against the registry."""

    groups: tuple[KeyGroup, ...]

    @property
    def join_keys(self) -> list[str]:
        """Every join key that a request must give."""
        return sorted({key for group in self.groups for key in group.requested})


def plan_read(
    config: Any, registry: Any, features: Features, *, full_feature_names: bool
) -> ReadPlan:
    """The plan of reading `features`, which Feast resolves and checks.

    Raises
    ------
    FeatureNotFoundError
        A view or feature is not registered, or is computed on demand.
    feast.errors.FeatureNameCollisionError
        Two features would have the same name.
    """
    requested = features if isinstance(features, FeatureService) else list(features)
    context = _resolve(registry, config.project, requested, full_feature_names)
    on_demand, entity_types, grouped = context[1], context[3], context[5]
    if on_demand:
        raise FeatureNotFoundError(
            f"features: got the on-demand view {on_demand[0].name!r}, expected views that the "
            "online store keeps. Read it with FeatureStore.get_online_features, which computes it."
        )
    views = [
        (_keys(view, entity_types), _view_plan(config, view, names, full_feature_names))
        for view, names in grouped
    ]
    views.sort(key=lambda pair: str(pair[0]))
    groups = [
        KeyGroup(stored, requested, types, tuple(plan for _, plan in members))
        for (stored, requested, types), members in groupby(views, key=lambda pair: pair[0])
    ]
    return ReadPlan(tuple(groups))


class ReadPlans:
    """Plans of requests, each kept until the registry is read anew; safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[tuple[Any, ...], tuple[Any, ReadPlan]] = {}

    def plan(
        self, config: Any, registry: Any, features: Features, *, full_feature_names: bool
    ) -> ReadPlan:
        """As `plan_read`."""
        name = getattr(features, "name", None)
        key = (name or tuple(features), config.project, full_feature_names)
        read_at = _registry_read_at(registry)
        with self._lock:
            known = self._plans.get(key)
        if known is not None and read_at is not None and known[0] == read_at:
            return known[1]
        plan = plan_read(config, registry, features, full_feature_names=full_feature_names)
        with self._lock:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            self._plans[key] = (_registry_read_at(registry), plan)
        return plan


@contextmanager
def roles_named(features: Any) -> Iterator[None]:
    """Say what Feast stumbles over: a service with one view in two roles, one of them unnamed.

    Raises
    ------
    FeatureNotFoundError
        Feast could not compare the two.
    """
    try:
        yield
    except TypeError as error:
        names = [each.name for each in getattr(features, "feature_view_projections", ())]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not twice:
            raise
        raise FeatureNotFoundError(
            f"service {features.name!r}: got the view {twice[0]!r} twice, expected a name for each "
            "role: Feast cannot tell a role without one. Declare each as view.with_name(...), "
            "and run feast apply."
        ) from error


def _registry_read_at(registry: Any) -> Any:
    """When the registry's cache was read; None where it would be read anew now."""
    if not registry.is_cache_valid():
        return None
    return getattr(registry, "cached_registry_proto_created", None)


def _resolve(registry: Any, project: str, features: Any, full_feature_names: bool) -> Any:
    try:
        with roles_named(features):
            return _get_online_request_context(registry, project, features, full_feature_names)
    except FeatureNameCollisionError:
        raise
    except (FeastError, LookupError, ValueError) as error:
        raise FeatureNotFoundError(
            f"features of project {project!r}: {str(error).strip(chr(39))}. Expected registered "
            "view:feature references or a registered service. Correct the name, or run feast apply."
        ) from error


def _keys(
    view: Any, types: Mapping[str, ValueType]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[ValueType, ...]]:
    names = tuple(column.name for column in view.entity_columns)
    alias = view.projection.join_key_map
    requested = tuple(alias.get(name, name) for name in names)
    return names, requested, tuple(types[name] for name in requested)


def _view_plan(config: Any, view: Any, names: Sequence[str], full_names: bool) -> ViewPlan:
    stored = _versioned_fv_name(view, config)
    declared: dict[str, Field] = {field.name: field for field in view.features}
    ordered = [name for name in declared if name in set(names)]
    name = view.projection.name_to_use()
    ttl = getattr(view, "ttl", None)
    return ViewPlan(
        name=name,
        ttl=ttl or None,
        columns=tuple(feature_column(name, f) if full_names else f for f in ordered),
        decoders=tuple(decoder_of(stored, declared[feature]) for feature in ordered),
        stored=(*(feature_field(stored, feature) for feature in ordered), timestamp_field(stored)),
    )


def check_entities(plan: ReadPlan, entities: Mapping[str, Any]) -> None:
    """Refuse entity columns that are missing, unknown or of different lengths.

    Raises
    ------
    FeatureNotFoundError
        A join key is missing or unknown.
    SchemaError
        The columns are not equally long.
    """
    expected = {key for key in plan.join_keys if key != DUMMY_ENTITY_ID}
    if expected - entities.keys() or entities.keys() - expected:
        raise FeatureNotFoundError(
            f"entities: got the join keys {sorted(entities)}, expected {sorted(expected)}. "
            "Give one column for each."
        )
    lengths = {key: len(column) for key, column in entities.items()}
    if len(set(lengths.values())) > 1:
        raise schema_error(
            "entities",
            got=f"columns of the lengths {lengths}",
            expected="one value per row in each",
            remedy="Repeat a value for each row, or ask for the entities apart.",
        )
