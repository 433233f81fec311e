"""The parts of a LazyConfig: what its calls make, or one error that names the part."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from detectron2.config import instantiate
from omegaconf import DictConfig, OmegaConf

from hrnet_det.environment import one_line
from hrnet_det.errors import InputError, SetupError, is_input


def build_part(node: DictConfig, key: str) -> object:
    """What the call of a part makes.

    Args:
        key: its place in the config, for messages.
    Raises: InputError where a class or function is not there, or does not take what it is given.
    """
    said: list[str] = []
    try:
        with errors_logged(said):
            return instantiate(node)
    except (SetupError, MemoryError):
        raise
    except Exception as error:  # the classes may be the user's own, which fail in any way
        if is_input(error):
            raise
        reason = one_line(error) or type(error).__name__
        if said:
            reason = f"{said[0]}: {reason}"
        raise InputError(f"{key}{_called(node)} cannot be built: {reason}") from error


@contextmanager
def errors_logged(said: list[str]) -> Iterator[None]:
    """Within, what has raised an error, which Detectron2 only logs, goes to a list."""
    log, handler = logging.getLogger(instantiate.__module__), logging.Handler()
    handler.emit = lambda record: said.append(
        record.getMessage().removeprefix("Error when instantiating ").rstrip("!")
    )
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(handler)


def _called(node: object) -> str:
    """What a node calls, in brackets; "" where it calls nothing."""
    target = node.get("_target_") if OmegaConf.is_dict(node) else None
    name = target if isinstance(target, str) else getattr(target, "__qualname__", "")
    return f" ({name})" if name else ""
