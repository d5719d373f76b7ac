"""The package's HTML templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str) -> Template:
    """One of ``queries/templates``; what is put into it is escaped, and what it lacks raises jinja2's error."""
    environment = Environment(
        loader=PackageLoader("crosslens.queries.show", "templates"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template(name)
