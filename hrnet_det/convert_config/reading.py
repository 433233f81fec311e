"""A config of mmdetection's and its `_base_` files, read as mmengine does, without running them."""

from __future__ import annotations

import ast
from pathlib import Path

from hrnet_det.convert_config.files import BASE, base_path, module_path, parse
from hrnet_det.convert_config.nodes import Node, Place, copied, merged
from hrnet_det.convert_config.statements import Statements
from hrnet_det.errors import InputError


def read_config(path: str | Path) -> Node:
    """All values of a config of mmdetection's, those of its `_base_` files merged under them.

    The files are parsed, not run: assignments, dicts, lists, arithmetic, `{{_base_.x}}`, loops and
    conditions are computed here. Source: mmengine's Config.fromfile, whose rules these are.

    Returns: a dict by variables; each part knows its dotted key and the line that states it.
    Raises: MissingInputError if a file is not there; InputError with the line for anything that
        would have to be run, and for what mmengine does not take either.
    """
    try:
        return copied(_read(Path(path), ()))
    except RecursionError as error:
        raise InputError(f"{path} is nested too deep") from error


def _read(path: Path, above: tuple[Path, ...]) -> Node:
    """The values of one file; above are the files that have it as `_base_`."""
    statements = parse(path).body
    scope = Statements(path, {})
    scope.names[BASE] = _bases(statements, scope, above)
    scope.names.update(_imported_bases(statements, scope, above))
    for statement in statements:
        if not _sets_base(statement) and not _reads_base(statement):
            scope.follow(statement)
    own = {k: node for k, node in scope.names.items() if k != BASE and not k.startswith("__")}
    return copied(merged(Node(own, Place(path, 1)), scope.names[BASE]))


def _bases(statements: list[ast.stmt], scope: Statements, above: tuple[Path, ...]) -> Node:
    """The values of all `_base_` files together."""
    together: dict[str, Node] = {}
    for statement in filter(_sets_base, statements):
        named = scope(statement.value)
        for node in named.value if isinstance(named.value, (list, tuple)) else [named]:
            file = base_path(node, scope.path, above)
            values = _read(file, (*above, scope.path)).value
            for key in together.keys() & values.keys():
                raise InputError(
                    f"{node.place}: {key} is set by two of its {BASE} files "
                    f"({together[key].place}, {values[key].place}): mmengine does not take it"
                )
            together |= values
    return Node(together, Place(scope.path, 1))


def _imported_bases(
    statements: list[ast.stmt], scope: Statements, above: tuple[Path, ...]
) -> dict[str, Node]:
    """What `with read_base(): from .x import *` brings."""
    found: dict[str, Node] = {}
    for line in (line for s in statements if _reads_base(s) for line in s.body):
        if not isinstance(line, ast.ImportFrom):
            raise scope.refuse(line)
        file = module_path(line, scope.path, above)
        values = _read(file, (*above, scope.path)).value
        for alias in line.names:
            if alias.name == "*":
                found |= values
            elif alias.name in values:
                found[alias.asname or alias.name] = values[alias.name]
            else:
                raise InputError(f"{scope.place(line)}: {file} sets no {alias.name}")
    return found


def _sets_base(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == BASE for target in statement.targets
    )


def _reads_base(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.With):
        return False
    return any("read_base" in ast.unparse(item.context_expr) for item in statement.items)
