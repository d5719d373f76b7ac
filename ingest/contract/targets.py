"""Which vector fields are wanted: what each is made from, and how it is indexed."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import Modality

INDEX_TYPES = ("int8_hnsw", "hnsw", "int4_hnsw", "bbq_hnsw", "flat", "int8_flat", "int4_flat", "bbq_flat")

DEFAULT_INDEX_TYPE = "int8_hnsw"


@dataclass(frozen=True)
class Target:
    """A vector field that is wanted: which source fields it is made from, and how it is indexed.

    ``template`` says how text sources are put together (see `parse_target`); with ``each`` every value of the one
    source gets a vector of its own.
    """

    field: str
    modality: Modality
    sources: tuple[str, ...]
    index_type: str = DEFAULT_INDEX_TYPE
    template: str | None = None
    each: bool = False


def parse_target(spec: str, modality: Modality, index_type: str = DEFAULT_INDEX_TYPE) -> Target:
    """The target that ``[NAME=]SOURCE`` describes, as the command line writes it.

    SOURCE is ``title``; ``title,description`` (values joined by full stops); ``{title} by {brand}`` (a template, in
    which a missing field leaves nothing); or ``photos[].url``, whose every value gets a vector of its own. Without
    NAME the field is called after its first source: ``title_vector``.

    Raises `MappingError` for anything else.
    """
    left, equals, right = spec.partition("=")
    named = bool(equals) and "{" not in left
    name, source = (left.strip(), right.strip()) if named else ("", spec.strip())
    template, each = None, "[]" in source
    if "{" in source or "}" in source:
        template = source
        sources = _placeholders(template)
    else:
        sources = tuple(part.replace("[]", "").strip() for part in source.split(","))
    if not all(sources) or not sources or (named and not name):
        raise MappingError(f"{spec!r} names no field; write FIELD, FIELD,FIELD or NAME=FIELD")
    if each and (len(sources) > 1 or template):
        raise MappingError(f"{spec!r}: [] makes a vector of each value of one field; name one field and no template")
    if modality == "image" and (template or len(sources) > 1):
        raise MappingError(f"{spec!r}: an image vector is made from one field that refers to an image")
    return Target(name or default_name(sources), modality, sources, index_type, template, each)


def _placeholders(template: str) -> tuple[str, ...]:
    try:
        parts = [p for p in string.Formatter().parse(template) if p[1] is not None]
    except ValueError as error:
        raise MappingError(f"the template {template!r} can't be read ({error}); write {{field}}") from error
    for _, name, spec, conversion in parts:
        if not name or spec or conversion:
            raise MappingError(f"the template {template!r} holds more than {{field}}; formats are not understood")
    return tuple(dict.fromkeys(str(name) for _, name, _, _ in parts))


def default_name(sources: Sequence[str]) -> str:
    """The vector field's name when none is given: ``title_vector`` of title and description."""
    return f"{sources[0].replace('.', '_')}_vector"
