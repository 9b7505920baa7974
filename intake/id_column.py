"""Ids that are no ids yet, or that two files write differently: what each has, and the remedy."""

import pyarrow as pa
import pyarrow.compute as pc

from feast_fusion.errors import SchemaError, schema_error


def not_an_id(column: pa.ChunkedArray, name: str, what: str) -> SchemaError:
    """The error that a column is neither text nor whole numbers."""
    found = pc.drop_null(column)
    example = found[0].as_py() if len(found) else None
    convert = f"`frame[{name!r}] = frame[{name!r}].astype('string')`"
    remedy = f"Convert it: {convert}."
    if pa.types.is_floating(column.type):
        finite = found.filter(pc.is_finite(found))
        odd = finite.filter(pc.not_equal(pc.floor(finite), finite))
        if len(odd):
            example = odd[0].as_py()
            remedy = f"A fraction identifies nothing: name the column of ids {name}."
        else:
            whole = f"frame[{name!r}].astype('Int64').astype('string')"
            remedy = f"Convert them to whole numbers first: `frame[{name!r}] = {whole}`."
    return schema_error(
        what,
        got=f"{column.type}, such as {example!r}",
        expected="strings or integers",
        remedy=remedy,
    )


def explain_unknown(ids: pa.Array, known: pa.Array, name: str) -> tuple[str, str]:
    """Beside an unknown id: an example of what is known, and what would make the two meet.

    Parameters
    ----------
    ids : unknown ids, strings
    known : ids of the other file, strings, without null

    Examples
    --------
    >>> explain_unknown(pa.array(["600"]), pa.array(["0600", "0601"]), "item_id")[0]
    "where items have ids such as '0600'"
    """
    if not len(known):
        return "where items have no usable row", "See the rejects of items first."
    both, theirs = _without_zeros(ids), _without_zeros(known)
    meets = pc.index_in(both, value_set=theirs).drop_null()
    if not len(meets):
        return (
            f"where items have ids such as {known[0].as_py()!r}",
            f"Write one {name} for one item in both files.",
        )
    twin = known[meets[0].as_py()].as_py()
    widths = pc.unique(pc.utf8_length(known)).to_pylist()
    if len(widths) == 1:
        remedy = f"frame[{name!r}].astype('string').str.zfill({widths[0]})"
    else:
        remedy = f"frame[{name!r}].astype('string').str.lstrip('0')"
    return (
        f"where items have ids such as {twin!r}",
        "They differ by leading zeros, which are lost when ids are read as numbers: read them as "
        f"text, or in {'this file' if len(widths) == 1 else 'both files'} "
        f"`frame[{name!r}] = {remedy}`.",
    )


def _without_zeros(ids: pa.Array) -> pa.Array:
    return pc.utf8_ltrim(ids, "0")
