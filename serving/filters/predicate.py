"""A filter as a typed predicate on columns: only what is listed here can be said.

====================================  ==========================================================
``price < 20``, ``10 <= year < 20``   numbers, also of two columns
``genre == 'Comedy'``, ``!=``         a text; of a column of several, that it has the text
``genre in ['Comedy', 'Drama']``      one of them; of a column of several, that it has any
``'Comedy' in genres``                a column of several texts has it
``price is None``, ``is not None``    whether nothing is known
``in_stock``                          a column of 0 and 1, or of true and false
``column('list price') < 20``         a column whose name is no word of Python
``and``, ``or``, ``not``, ``( )``     as in SQL: what is compared with nothing is neither true nor
                                      false, and so is its ``not``
====================================  ==========================================================
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import polars as pl

from serving.filters.filter_text import EXAMPLE, FilterText

Kind = Literal["number", "text", "texts"]

_ORDERS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_CALLED = {
    ast.Call: "a call",
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "an f-string",
    ast.BinOp: "arithmetic",
    ast.IfExp: "if and else",
    ast.Starred: "a star",
    ast.List: "a list",
    ast.Tuple: "a list",
    ast.Name: "a column",
    ast.Compare: "a comparison",
    ast.BoolOp: "and or or",
}
_CONSTANTS: dict[type, str] = {
    int: "a number",
    float: "a number",
    str: "a text",
    bool: "True or False",
    type(None): "None",
}
_SHOWN_COLUMNS, _SHOWN_CHARACTERS = 30, 40
_CONDITION = "a condition"
_WITHOUT_NONE = "Write: is None, or: is not None"


@dataclass(frozen=True)
class ItemColumn:
    """What a column holds: a number, a text or several texts; and whether it is true or false."""

    kind: Kind
    is_flag: bool


def read_predicate(text: str, columns: Mapping[str, ItemColumn]) -> pl.Expr:
    """The predicate of a filter, null where a row's truth is unknown.

    Raises
    ------
    FilterError
        It is no filter, or does not fit the columns.
    """
    given = FilterText(text)
    return _Reader(given, columns).condition(given.tree())


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of one filter."""

    given: FilterText
    columns: Mapping[str, ItemColumn]

    def condition(self, node: ast.expr) -> pl.Expr:
        """What is true or false of an item."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(each) for each in node.values]
            is_and = isinstance(node.op, ast.And)
            return pl.all_horizontal(parts) if is_and else pl.any_horizontal(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            pairs = zip(operands, node.ops, operands[1:], strict=False)
            return pl.all_horizontal([self._comparison(*pair) for pair in pairs])
        name = self._column_name(node)
        if name is None:
            self._refuse(node, _CONDITION)
        return self._flag(node, name)

    def _flag(self, node: ast.expr, name: str) -> pl.Expr:
        column = self.columns[name]
        if not column.is_flag:
            remedy = f"Compare it: {name} {'< 20' if column.kind == 'number' else '== ...'}"
            got = f"column {name!r} alone, which is more than true or false"
            raise self.given.refusal(node, got, _CONDITION, remedy)
        if column.kind == "number":
            return pl.col(name) != 0
        return pl.col(name).str.to_lowercase() == "true"

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
        if isinstance(op, ast.Is | ast.IsNot):
            name = self._require_column(left)
            if not (isinstance(right, ast.Constant) and right.value is None):
                self._refuse(right, "None", _WITHOUT_NONE)
            return pl.col(name).is_null() if isinstance(op, ast.Is) else pl.col(name).is_not_null()
        if isinstance(op, ast.In | ast.NotIn):
            found = self._membership(left, right)
            return found if isinstance(op, ast.In) else ~found
        named = [name for name in map(self._column_name, (left, right)) if name is not None]
        if not named:
            self._refuse(left, "a column on one side")
        if self.columns[named[0]].kind == "number":
            compared: pl.Expr = _ORDERS[type(op)](self._number(left), self._number(right))
            return compared
        return self._equality(left, op, right)

    def _equality(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
        """Of a column of texts with a text, on either side."""
        name, text = self._column_name(left), right
        if name is None:
            name, text = self._require_column(right), left
        if not isinstance(op, ast.Eq | ast.NotEq):
            raise self.given.refusal(
                left,
                f"an order of {name!r}, which holds texts",
                "==, != or in",
                f"Write one such as: {name} == '...'",
            )
        found = self._has_any(name, [self._text(text)])
        return found if isinstance(op, ast.Eq) else ~found

    def _membership(self, left: ast.expr, right: ast.expr) -> pl.Expr:
        name = self._column_name(left)
        if name is None:
            text, name = self._text(left), self._require_column(right)
            if self.columns[name].kind != "texts":
                remedy = f"Write: {name} == ..."
                raise self.given.refusal(right, f"{name!r}", "a column of several texts", remedy)
            return self._has_any(name, [text])
        if not isinstance(right, ast.List | ast.Tuple):
            self._refuse(right, "a list", f"Write one such as: {name} in [...]")
        if self.columns[name].kind == "number":
            return pl.col(name).is_in([self._literal_number(each) for each in right.elts])
        return self._has_any(name, [self._text(each) for each in right.elts])

    def _has_any(self, name: str, texts: list[str]) -> pl.Expr:
        wanted = pl.Series(texts, dtype=pl.String)
        if self.columns[name].kind == "text":
            return pl.col(name).is_in(wanted.implode())
        held = pl.col(name).list.set_intersection(pl.lit(wanted.implode()))
        return held.list.drop_nulls().list.len() > 0

    def _number(self, node: ast.expr) -> pl.Expr:
        name = self._column_name(node)
        if name is None:
            return pl.lit(self._literal_number(node))
        if self.columns[name].kind != "number":
            raise self.given.refusal(
                node, f"{name!r}, which holds texts", "a number", "Compare numbers with numbers."
            )
        return pl.col(name)

    def _literal_number(self, node: ast.expr) -> float:
        sign, inner = 1.0, node
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            sign, inner = -1.0 if isinstance(node.op, ast.USub) else 1.0, node.operand
        value = inner.value if isinstance(inner, ast.Constant) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._refuse(node, "a number")
        try:
            number = sign * float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise self.given.refusal(node, "a number out of range", "one below 1.7e308", EXAMPLE)
        return number

    def _text(self, node: ast.expr) -> str:
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(value, str):
            self._refuse(node, "a text in quotes")
        try:
            value.encode()
        except UnicodeEncodeError:
            got = "half of a surrogate pair"
            raise self.given.refusal(node, got, "a text in Unicode", EXAMPLE) from None
        return value

    def _require_column(self, node: ast.expr) -> str:
        name = self._column_name(node)
        if name is None:
            self._refuse(node, "a column")
        return name

    def _column_name(self, node: ast.expr) -> str | None:
        """The column that is named, None where it is another expression."""
        match node:
            case ast.Name(id=named):
                pass
            case ast.Call(
                func=ast.Name(id="column"), args=[ast.Constant(value=str(named))], keywords=[]
            ):
                pass
            case _:
                return None
        if named not in self.columns:
            known = list(self.columns)
            shown = ", ".join(known[:_SHOWN_COLUMNS]) or "no columns at all"
            more = f" and {len(known) - _SHOWN_COLUMNS} more" if len(known) > _SHOWN_COLUMNS else ""
            raise self.given.refusal(
                node,
                f"an unknown column {named[:_SHOWN_CHARACTERS]!r}",
                f"one of {shown}{more}",
                "They are the numeric, categorical and written columns of items.",
            )
        return named

    def _refuse(self, node: ast.expr, expected: str, remedy: str = EXAMPLE) -> NoReturn:
        got = _CALLED.get(type(node), "another expression")
        if isinstance(node, ast.Constant):
            got = _CONSTANTS.get(type(node.value), "another constant")
            remedy = _WITHOUT_NONE if node.value is None else remedy
        raise self.given.refusal(node, got, expected, remedy)
