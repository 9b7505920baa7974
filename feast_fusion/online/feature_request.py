"""What `get_online_features` was asked for: the views, the key of each row, the request's data.

Feast resolves the names; which entity each view means is settled here, view by view, because one
view may be asked for in two roles at once.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from feast import ValueType
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import python_values_to_proto_values
from feast.utils import _get_cached_request_context

from feast_fusion.errors import schema_error
from feast_fusion.on_demand import row_by_row
from feast_fusion.online.read_plan import roles_named
from feast_fusion.online.refusals import RefusedRequestError

Columns: TypeAlias = Mapping[str, Sequence[ValueProto]]
EntityRows: TypeAlias = Sequence[Mapping[str, Any]] | Mapping[str, Any]

NO_ENTITY = EntityKey(
    join_keys=[DUMMY_ENTITY_ID], entity_values=[ValueProto(string_val=DUMMY_ENTITY_VAL)]
)


@dataclass(frozen=True)
class FeatureRequest:
    """A request of n rows.

    Attributes
    ----------
    views : each view and the names of its features
    on_demand : the views that are computed from the others and from the request's data
    references : "view:feature" of everything that was asked for
    answered : the names of the answer's features
    keys : by join key as the request calls it, a value per row
    request_data : by name, a value per row; a name may be a join key too
    """

    n_rows: int
    views: tuple[tuple[Any, list[str]], ...]
    on_demand: tuple[Any, ...]
    references: list[str]
    answered: frozenset[str]
    keys: Columns
    request_data: Columns

    @classmethod
    def resolve(
        cls, registry: Any, project: str, features: Any, rows: EntityRows, full_names: bool
    ) -> "FeatureRequest":
        """The request for `features` of entity rows.

        Raises
        ------
        FeatureNotFoundError
            A service has one view in two roles, one of them without a name.
        RefusedRequestError
            The data that an on-demand view is computed from are missing.
        SchemaError
            Rows have different columns.
        """
        with roles_named(features):
            context = _get_cached_request_context(registry, project, features, full_names)
        references, on_demand, entities, types, join_keys, views, answered, needed, _ = context
        columns, n_rows = _columns(rows)
        given = {
            name: python_values_to_proto_values(values, types.get(name, ValueType.UNKNOWN))
            for name, values in columns.items()
        }
        if missing := sorted(needed - given.keys()):
            raise RefusedRequestError(
                f"entity rows: got the columns {sorted(given)}, expected also {missing}, which "
                "an on-demand view is computed from. Add them to each row."
            )
        return cls(
            n_rows=n_rows,
            views=tuple((view, list(names)) for view, names in views),
            on_demand=tuple(map(row_by_row, on_demand)),
            references=references,
            answered=answered,
            keys=_keys(given, join_keys, entities, needed),
            request_data={name: given[name] for name in needed},
        )


def _columns(rows: EntityRows) -> tuple[Mapping[str, Sequence[Any]], int]:
    """The columns of rows, and how many rows there are."""
    if isinstance(rows, Mapping):
        columns = {k: list(v.val if hasattr(v, "val") else v) for k, v in rows.items()}
        n_rows = len(next(iter(columns.values()), ()))
        if any(len(column) != n_rows for column in columns.values()):
            raise _uneven({name: len(column) for name, column in columns.items()})
        return columns, n_rows
    names = rows[0].keys() if rows else ()
    if wrong := [row for row in rows if row.keys() != names]:
        raise _uneven(sorted(wrong[0]))
    return {name: [row[name] for row in rows] for name in names}, len(rows)


def _uneven(got: object) -> Exception:
    return schema_error(
        "entity rows",
        got=got,
        expected="the same columns in every row",
        remedy="Give every row a value for each join key.",
    )


def _keys(
    given: Columns, join_keys: set[str], entities: Mapping[str, str], needed: set[str]
) -> Columns:
    keys = {}
    for name, values in given.items():
        if name in join_keys:
            keys[name] = values
        elif name in entities and name not in needed:
            warnings.warn(
                f"entity rows: {name!r} is the name of an entity; use its join key "
                f"{entities[name]!r}.",
                stacklevel=6,
            )
            keys[entities[name]] = values
    return keys


def view_entities(
    view: Any, request: FeatureRequest, config: Any
) -> tuple[list[bytes], Sequence[int]]:
    """The Redis keys of a view's distinct entities, and for each row which; -1 for a null key.

    Raises
    ------
    RefusedRequestError
        A join key of the view is missing.
    """
    stored = join_keys_of(view)
    if not stored:
        return [redis_key(NO_ENTITY, config)], [0] * request.n_rows
    alias = view.projection.join_key_map
    names = [alias.get(name, name) for name in stored]
    if missing := [name for name in names if name not in request.keys]:
        raise RefusedRequestError(
            f"entity rows: got the columns {sorted(request.keys)}, expected also {missing}, which "
            f"the view {view.projection.name_to_use()!r} is keyed by. Add them to each row."
        )
    position: dict[tuple[bytes, ...], int] = {}
    keys: list[bytes] = []
    rows = []
    for values in zip(*(request.keys[name] for name in names), strict=True):
        identity = tuple(value.SerializeToString() for value in values)
        if not all(identity):
            rows.append(-1)
            continue
        if identity not in position:
            position[identity] = len(keys)
            keys.append(redis_key(EntityKey(join_keys=stored, entity_values=values), config))
        rows.append(position[identity])
    return keys, rows


def join_keys_of(view: Any) -> list[str]:
    """The join keys as stored, none for a view without entities."""
    return [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]


def redis_key(entity: EntityKey, config: Any) -> bytes:
    """The key under which Feast's own store keeps an entity."""
    version = config.entity_key_serialization_version
    key: bytes = serialize_entity_key(entity, entity_key_serialization_version=version)
    project: bytes = config.project.encode()
    return key + project
