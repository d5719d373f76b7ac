"""The package's HTML templates."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from crosslens.surrogates import well_formed


def template(name: str) -> Template:
    """Return one of ``queries/show/templates``.

    What is put into it is escaped and made `well_formed`; what it lacks raises jinja2's error.
    """
    environment = Environment(
        loader=PackageLoader("crosslens.queries.show", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: well_formed(value) if isinstance(value, str) else value,
    )
    return environment.get_template(name)
