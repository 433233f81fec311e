"""Python's literals and operators, computed without running the file that has them."""

from __future__ import annotations

import ast
import contextlib
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from hrnet_det.convert_config import functions
from hrnet_det.convert_config.files import BASE
from hrnet_det.convert_config.nodes import MOST_ITEMS, Node, Place, plain
from hrnet_det.errors import InputError, shown

MOST_STEPS = 200_000  # expressions of a file that are computed
MOST_BITS = 1000  # of a whole number
_PART_OF_BASE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")
OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitOr: operator.or_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}


class Values:
    """Computes the expressions of one file: constants, lists, dicts, operators, parts of values.

    Args:
        path: the file, for messages.
        names: the values of its variables; changed by the statements.
    Attributes:
        imports: by the name that an import has bound, the full name of what it has imported.
    """

    def __init__(self, path: Path, names: dict[str, Node]) -> None:
        self.path, self.names = path, names
        self.imports: dict[str, str] = {}
        self._steps = 0

    def place(self, tree: ast.AST) -> Place:
        return Place(self.path, getattr(tree, "lineno", 1))

    def refuse(self, tree: ast.AST, why: str = "") -> InputError:
        """The error for what would have to be run."""
        text = " ".join(ast.unparse(tree).split())
        reason = why or "would have to be run, which is not done: write the value itself"
        return InputError(f"{self.place(tree)}: {shown(text)}: {reason}")

    def __call__(self, tree: ast.expr) -> Node:
        """The value of an expression. Raises: InputError with the line if it cannot be computed."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise self.refuse(tree, "the file computes too much for a config")
        compute = getattr(self, f"_{type(tree).__name__.lower()}", None)
        if compute is None:
            raise self.refuse(tree)
        with self.computed(tree):
            return compute(tree)

    @contextlib.contextmanager
    def computed(self, tree: ast.AST) -> Iterator[None]:
        """What Python would end with in this line is told with it, as InputError."""
        try:
            yield
        except InputError:
            raise
        except RecursionError as error:
            raise InputError(f"{self.place(tree)}: is nested too deep") from error
        except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise self.refuse(tree, f"cannot be computed ({reason})") from error

    def node(self, value: object, tree: ast.AST) -> Node:
        """A value of this line. Raises: InputError for one that no config has."""
        if isinstance(value, (str, list, tuple, dict)) and len(value) > MOST_ITEMS:
            raise self.refuse(tree, "is too long for a config")
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise self.refuse(tree, "is too large for a config")
        return Node(value, self.place(tree))

    def _constant(self, tree: ast.Constant) -> Node:
        if isinstance(tree.value, str) and (found := _PART_OF_BASE.fullmatch(tree.value)):
            return self.part_of_base(found[1], tree)
        if not isinstance(tree.value, (str, int, float, bool, type(None))):
            raise self.refuse(tree, "a config has numbers, text, lists and dicts")
        return self.node(tree.value, tree)

    def part_of_base(self, path: str, tree: ast.AST) -> Node:
        """What `{{_base_.PATH}}` stands for."""
        base = self.names.get(BASE)
        found = base.find(path) if base is not None else None
        if found is None:
            raise self.refuse(tree, f"its {BASE} has no {path}")
        return found

    def _name(self, tree: ast.Name) -> Node:
        if tree.id in self.names:
            return self.names[tree.id]
        if tree.id in self.imports:  # a class: mmdetection's configs name types by it
            return self.node(self.imports[tree.id].rsplit(".", 1)[-1], tree)
        raise self.refuse(tree, "is not known here: the file and its _base_ do not set it")

    def _list(self, tree: ast.List) -> Node:
        return self.node(self._items(tree.elts), tree)

    def _tuple(self, tree: ast.Tuple) -> Node:
        return self.node(tuple(self._items(tree.elts)), tree)

    def _items(self, trees: list[ast.expr]) -> list[Node]:
        items: list[Node] = []
        for tree in trees:
            if isinstance(tree, ast.Starred):
                items.extend(self(tree.value).value)
            else:
                items.append(self(tree))
        return items

    def _set(self, tree: ast.Set) -> Node:
        """`{{_base_.x}}` without quotes is, to Python, a set in a set."""
        inner = tree.elts[0]
        if len(tree.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            return self(inner.elts[0])
        raise self.refuse(tree, "a config has no sets: write a list")

    def _dict(self, tree: ast.Dict) -> Node:
        made: dict[str, Node] = {}
        for key, value in zip(tree.keys, tree.values, strict=True):
            if key is None:
                made.update(self(value).value)
            else:
                made[plain(self(key))] = self(value)
        return self.node(made, tree)

    def _binop(self, tree: ast.BinOp) -> Node:
        left, right = self(tree.left), self(tree.right)
        compute = OPERATORS.get(type(tree.op))
        if compute is None:
            raise self.refuse(tree)
        values = (left.value, right.value)
        if isinstance(tree.op, ast.Mod) and isinstance(left.value, str):
            return self.node(functions.filled_in(left.value, plain(right)), tree)
        if isinstance(tree.op, ast.Mult):
            self._check_size(tree, values)
        if isinstance(tree.op, ast.Pow) and abs(values[1]) > 64:
            raise self.refuse(tree, "is too large a power for a config")
        return self.node(compute(*values), tree)

    def _check_size(self, tree: ast.AST, values: tuple) -> None:
        for items, times in (values, values[::-1]):
            repeats = isinstance(items, (str, list, tuple)) and isinstance(times, int)
            if repeats and len(items) * times > MOST_ITEMS:
                raise self.refuse(tree, "is too long for a config")

    def _unaryop(self, tree: ast.UnaryOp) -> Node:
        compute = OPERATORS.get(type(tree.op))
        if compute is None:
            raise self.refuse(tree)
        return self.node(compute(self(tree.operand).value), tree)

    def _boolop(self, tree: ast.BoolOp) -> Node:
        stops = isinstance(tree.op, ast.Or)
        for value in tree.values:
            found = self(value)
            if bool(found.value) == stops:
                return found
        return found

    def _compare(self, tree: ast.Compare) -> Node:
        left = plain(self(tree.left))
        for op, other in zip(tree.ops, tree.comparators, strict=True):
            right = plain(self(other))
            if not OPERATORS[type(op)](left, right):
                return self.node(False, tree)
            left = right
        return self.node(True, tree)

    def _ifexp(self, tree: ast.IfExp) -> Node:
        return self(tree.body if self(tree.test).value else tree.orelse)

    def _subscript(self, tree: ast.Subscript) -> Node:
        items = self(tree.value).value
        if isinstance(tree.slice, ast.Slice):
            ends = (tree.slice.lower, tree.slice.upper, tree.slice.step)
            part = slice(*(None if end is None else self(end).value for end in ends))
            return self.node(items[part], tree)
        found = items[plain(self(tree.slice))]
        return found if isinstance(found, Node) else self.node(found, tree)

    def _attribute(self, tree: ast.Attribute) -> Node:
        if name := self.full_name(tree):
            return self.node(name.rsplit(".", 1)[-1], tree)  # a class of a module
        found = self(tree.value).get(tree.attr)
        if found is None:
            raise self.refuse(tree, f"has no {tree.attr}")
        return found

    def full_name(self, tree: ast.expr) -> str:
        """Of something imported, such as "os.path.join"; "" for anything else."""
        if isinstance(tree, ast.Attribute):
            above = self.full_name(tree.value)
            return f"{above}.{tree.attr}" if above else ""
        if isinstance(tree, ast.Name) and tree.id not in self.names:
            return self.imports.get(tree.id, "")
        return ""

    def _joinedstr(self, tree: ast.JoinedStr) -> Node:
        text = ""
        for part in tree.values:
            text = self.node(f"{text}{plain(self(part))}", tree).value
        return Node(text, self.place(tree))

    def _formattedvalue(self, tree: ast.FormattedValue) -> Node:
        value = plain(self(tree.value))
        value = {115: str, 114: repr, 97: ascii}.get(tree.conversion, lambda x: x)(value)
        spec = str(self(tree.format_spec).value) if tree.format_spec else ""
        return self.node(functions.formatted(value, spec), tree)
