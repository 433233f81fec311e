"""Python's statements, as far as configs need them, followed without running the file."""

from __future__ import annotations

import ast

from hrnet_det.convert_config.expressions import MOST_STEPS, Expressions
from hrnet_det.convert_config.nodes import Node


class Statements(Expressions):
    """Follows the statements of one file, which set its variables."""

    _followed = 0

    def follow(self, statement: ast.stmt) -> None:
        """Follow one statement. Raises: InputError with the line if it cannot be followed."""
        self._followed += 1
        if self._followed > MOST_STEPS:
            raise self.refuse(statement, "the file computes too much for a config")
        with self.computed(statement):
            self._follow(statement)

    def _follow(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign():
                value = self(statement.value)
                for target in statement.targets:
                    self._assign(target, value)
            case ast.AnnAssign(value=ast.expr()):
                self._assign(statement.target, self(statement.value))
            case ast.AugAssign():
                self._assign_changed(statement)
            case ast.Expr():
                self(statement.value)
            case ast.Import() | ast.ImportFrom():
                self._import(statement)
            case ast.If():
                chosen = self(statement.test).value
                for inner in statement.body if chosen else statement.orelse:
                    self.follow(inner)
            case ast.For(orelse=[]):
                for item in self.iterated(self(statement.iter)):
                    self.bind(statement.target, item)
                    for inner in statement.body:
                        self.follow(inner)
            case ast.Delete():
                for target in statement.targets:
                    self._delete(target)
            case ast.Pass():
                pass
            case _:
                raise self.refuse(statement)

    def _assign(self, target: ast.expr, value: Node) -> None:
        if isinstance(target, ast.Subscript):
            owner, key = self(target.value), self(target.slice).value
            owner.value[key] = value
        elif isinstance(target, ast.Attribute):
            self(target.value).value[target.attr] = value
        else:
            self.bind(target, value)

    def _assign_changed(self, statement: ast.AugAssign) -> None:
        tree = ast.BinOp(statement.target, statement.op, statement.value)
        changed = self(ast.copy_location(tree, statement))
        before = self(statement.target)
        if isinstance(statement.op, ast.Add) and isinstance(before.value, list):
            before.value[:] = changed.value  # the list itself, as Python does
        else:
            self._assign(statement.target, changed)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        module = f"{statement.module}." if isinstance(statement, ast.ImportFrom) else ""
        for alias in statement.names:
            if alias.name == "*":
                raise self.refuse(statement)
            whole = module or alias.asname
            bound = alias.asname or alias.name.split(".")[0]
            name = f"{module}{alias.name}" if whole else bound
            self.imports[bound] = name

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            del self.names[target.id]
        elif isinstance(target, ast.Subscript):
            del self(target.value).value[self(target.slice).value]
        elif isinstance(target, ast.Attribute):
            del self(target.value).value[target.attr]
        else:
            raise self.refuse(target)
