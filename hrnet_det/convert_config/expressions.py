"""Python's names, loops and calls in expressions, computed without running the file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hrnet_det.convert_config import functions
from hrnet_det.convert_config.nodes import Node, Place, from_plain, plain
from hrnet_det.convert_config.values import MOST_STEPS, Values

__all__ = ["MOST_STEPS", "Expressions"]


class Expressions(Values):
    """Computes all expressions of one file that a config may have."""

    def _listcomp(self, tree: ast.ListComp | ast.GeneratorExp) -> Node:
        found = [self(tree.elt) for _ in self._rounds(tree.generators)]
        return self.node(found, tree)

    _generatorexp = _listcomp

    def _dictcomp(self, tree: ast.DictComp) -> Node:
        pairs = [(plain(self(tree.key)), self(tree.value)) for _ in self._rounds(tree.generators)]
        return self.node(dict(pairs), tree)

    def _rounds(self, loops: list[ast.comprehension]) -> Iterator[None]:
        """Bind the variables of a comprehension's loops, round by round."""
        if not loops:
            yield
            return
        loop, *inner = loops
        before = dict(self.names)
        for item in self.iterated(self(loop.iter)):
            self.bind(loop.target, item)
            if all(self(test).value for test in loop.ifs):
                yield from self._rounds(inner)
        self.names.clear()
        self.names.update(before)

    def iterated(self, node: Node) -> list[Node]:
        """What a loop over a value goes through."""
        return [i if isinstance(i, Node) else Node(i, node.place) for i in list(node.value)]

    def bind(self, target: ast.expr, node: Node) -> None:
        """Assign to a name, or to several."""
        if isinstance(target, ast.Name):
            self.names[target.id] = node
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = self.iterated(node)
            if len(items) != len(target.elts):
                raise self.refuse(target, f"are not as many as the {len(items)} values")
            for part, item in zip(target.elts, items, strict=True):
                self.bind(part, item)
        else:
            raise self.refuse(target)

    def _call(self, tree: ast.Call) -> Node:
        arguments = self._items(tree.args)
        options: dict[str, Node] = {}
        for keyword in tree.keywords:
            value = self(keyword.value)
            options.update(value.value if keyword.arg is None else {keyword.arg: value})
        if isinstance(tree.func, ast.Name) and tree.func.id not in (*self.names, *self.imports):
            function = functions.BUILTINS.get(tree.func.id)
        elif name := self.full_name(tree.func):
            function = functions.IMPORTED.get(name)
        elif isinstance(tree.func, ast.Attribute):
            owner = self(tree.func.value)
            return self._method(tree, owner, arguments, options)
        else:
            function = None
        if function is None:
            raise self.refuse(tree)
        made = function(*arguments, **options)
        return made if isinstance(made, Node) else from_plain_or_node(made, self.place(tree))

    def _method(
        self, tree: ast.Call, owner: Node, arguments: list[Node], options: dict[str, Node]
    ) -> Node:
        function = functions.method(owner, tree.func.attr)
        if function is None:
            raise self.refuse(tree)
        made = function(owner, *arguments, **options)
        return made if isinstance(made, Node) else from_plain_or_node(made, self.place(tree))


def from_plain_or_node(value: object, place: Place) -> Node:
    """A Node of a result whose parts may be Nodes already."""
    if isinstance(value, dict):
        return Node({k: from_plain_or_node(item, place) for k, item in value.items()}, place)
    if isinstance(value, (list, tuple)):
        return Node(type(value)(from_plain_or_node(item, place) for item in value), place)
    return value if isinstance(value, Node) else from_plain(value, place)
