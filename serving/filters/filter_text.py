"""The text of a filter as a tree of Python's syntax, of which nothing is ever run."""

import ast
import re
from dataclasses import dataclass

from feast_fusion.errors import SchemaError

MAX_CHARACTERS = 4_000
# So that neither reading nor evaluating a filter can recurse far.
_MAX_DEPTH, _MAX_NODES = 32, 2_000
_SHOWN = 40  # characters on either side of the place of an error
EXAMPLE = "Write one such as: price < 20 and language == 'en' and 'Comedy' in genres"
_CONDITION = ("a condition on columns of items", EXAMPLE)
_SPACES = str.maketrans("\t\n\v\f\r", " " * 5)
_NO_NODES = (ast.expr_context, ast.boolop, ast.cmpop, ast.unaryop)


class FilterError(SchemaError):
    """A filter that cannot be read.

    Parameters
    ----------
    position : of the character where, from 1
    """

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True)
class FilterText:
    """A filter as it was given."""

    text: str

    def tree(self) -> ast.expr:
        """Its syntax.

        Raises
        ------
        FilterError
            It is no expression, too long, or too deep.
        """
        if len(self.text) > MAX_CHARACTERS:
            got, expected = f"{len(self.text):,} characters", f"{MAX_CHARACTERS:,} at most"
            raise self.error(MAX_CHARACTERS, got, expected, "Give a shorter filter.")
        line = self.text.translate(_SPACES)
        if not line.strip():
            raise self.error(0, "nothing", "a condition", "Write one such as: price < 20")
        indent = len(line) - len(line.lstrip())
        try:
            tree = ast.parse(line[indent:], mode="eval").body
        except SyntaxError as error:
            if (sign := _assignment(line)) is not None:
                raise self.error(sign, "a single =", *_COMPARISON) from None
            # Without an offset it is the end that came too early.
            at = indent + error.offset - 1 if error.offset else len(line.rstrip())
            raise self.error(at, f"no expression: {error.msg}", *_CONDITION) from None
        except (ValueError, RecursionError, MemoryError):
            raise self.error(indent, "what cannot be read", *_CONDITION) from None
        self._require_small(tree)
        return tree

    def refusal(self, node: ast.AST, got: str, expected: str, remedy: str) -> FilterError:
        """The error that a part of the tree is not what it should be."""
        line = self.text.translate(_SPACES)
        indent = len(line) - len(line.lstrip())
        parsed = line[indent:].encode()
        before = parsed[: getattr(node, "col_offset", 0)]  # bytes of UTF-8
        return self.error(indent + len(before.decode()), got, expected, remedy)

    def error(self, at: int, got: str, expected: str, remedy: str) -> FilterError:
        """The error at a character, counted from 0, with a line that points to it."""
        at = min(at, len(self.text))
        start = max(0, at - _SHOWN)
        shown = [each if each.isprintable() else " " for each in self.text[start : at + _SHOWN]]
        return FilterError(
            f"filter, character {at + 1}: got {got}, expected {expected}. {remedy}\n"
            f"  {''.join(shown)}\n  {' ' * (at - start)}^",
            at + 1,
        )

    def _require_small(self, tree: ast.expr) -> None:
        n_nodes = 0
        waiting: list[tuple[ast.AST, int]] = [(tree, 1)]
        while waiting:
            node, depth = waiting.pop()
            n_nodes += 1
            if depth > _MAX_DEPTH or n_nodes > _MAX_NODES:
                got = "too deep an expression" if depth > _MAX_DEPTH else "too many parts"
                expected = f"{_MAX_DEPTH} levels and {_MAX_NODES:,} parts at most"
                raise self.refusal(node, got, expected, "Give a simpler filter.")
            parts = [each for each in ast.iter_child_nodes(node) if not isinstance(each, _NO_NODES)]
            waiting += [(each, depth + 1) for each in parts]


_COMPARISON = (
    "== to compare",
    "Write: language == 'de'; of a column of several texts: 'Comedy' in genres",
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_ASSIGNMENT = re.compile("(?<![=!<>:])=(?!=)")  # part of no ==, !=, <=, >= or :=


def _assignment(line: str) -> int | None:
    """The place of the first single = outside of quotes, as in SQL."""
    bare = _QUOTED.sub(lambda quoted: " " * len(quoted[0]), line)
    found = _ASSIGNMENT.search(bare)
    return None if found is None else found.start()
