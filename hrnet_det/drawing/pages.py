"""Pages in HTML that need no other file, in one form."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

BASE = Path(__file__).parent  # of base.html, which the templates extend


def render(template: Path, **values: object) -> str:
    """The page of a template, which extends base.html; all values are escaped."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, BASE]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template(template.name).render(values)
