"""Which vector fields are wanted: what each is made from, and how it is indexed."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import Modality

INDEX_TYPES = ("int8_hnsw", "hnsw", "int4_hnsw", "bbq_hnsw", "flat", "int8_flat", "int4_flat", "bbq_flat")

DEFAULT_INDEX_TYPE = "int8_hnsw"
_PASSAGES = "[passages]"


@dataclass(frozen=True, eq=False)
class Target:
    """A vector field to make: which source fields it is made from, and how it is indexed.

    `TextField` and `ImageField` are its two kinds. ``template`` says how text sources are put together; with ``each``
    every value of the one source gets a vector of its own, with ``passages`` every passage of each value.
    """

    field: str
    modality: Modality
    sources: tuple[str, ...]
    index_type: str = DEFAULT_INDEX_TYPE
    template: str | None = None
    each: bool = False
    passages: bool = False

    # A field is what it says, however it was made.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash(astuple(self))


class TextField(Target):
    """A vector of the text in one or several fields of a document.

    TextField("title", "description")           # the values, joined by full stops
    TextField("{title} by {brand}")             # a template; a missing field leaves nothing
    TextField("reviews[].text")                 # a vector for each review
    TextField("body", passages=True)            # a vector for each passage of a text of any length
    TextField("title", name="title_clip")       # instead of title_vector
    """

    def __init__(
        self,
        *sources: str,
        name: str | None = None,
        template: str | None = None,
        each: bool = False,
        passages: bool = False,
        index_type: str = DEFAULT_INDEX_TYPE,
    ):
        """``name`` is the vector field's (by default the first source's, as in ``title_vector``); ``index_type`` is how
        Elasticsearch indexes it. ``template``, ``each`` and ``passages`` say apart what braces, [] and [passages] say
        in ``sources``.

        Raises `MappingError` for sources that make no field.
        """
        if template is not None and sources:
            raise MappingError(f"the template {template!r} names the sources; give it alone")
        super().__init__(**_described(template or ",".join(sources), "text", name, index_type, each, passages))


class ImageField(Target):
    """A vector of the picture that a field refers to, by path, URL or data URI.

    ImageField("photo")
    ImageField("photos[].url")                  # a vector for each photo
    """

    def __init__(
        self, source: str, *, name: str | None = None, each: bool = False, index_type: str = DEFAULT_INDEX_TYPE
    ):
        """Arguments as in `TextField`. Raises `MappingError` for a source that makes no field."""
        super().__init__(**_described(source, "image", name, index_type, each))


def parse_target(spec: str, modality: Modality, index_type: str = DEFAULT_INDEX_TYPE) -> Target:
    """The field that ``[NAME=]SOURCE`` describes, as the command line writes it.

    SOURCE is ``title``; ``title,description`` (values joined by full stops); ``{title} by {brand}`` (a template, in
    which a missing field leaves nothing); ``photos[].url``, whose every value gets a vector of its own; or
    ``body[passages]``, whose every passage gets one. Without NAME the field is called after its first source:
    ``title_vector``.

    Raises `MappingError` for anything else.
    """
    left, equals, right = spec.partition("=")
    if not equals or "{" in left:
        return Target(**_described(spec, modality, None, index_type))
    if not left.strip():
        raise MappingError(f"{spec!r} names no field; write FIELD, FIELD,FIELD or NAME=FIELD")
    return Target(**_described(right, modality, left.strip(), index_type))


def _described(
    source: str,
    modality: Modality,
    name: str | None,
    index_type: str,
    each: bool = False,
    passages: bool = False,
) -> dict[str, Any]:
    spec = source if name is None else f"{name}={source}"
    source = source.strip()
    if source.endswith(_PASSAGES) and "{" not in source:
        source, passages = source.removesuffix(_PASSAGES), True
    template, each = None, each or passages or "[]" in source
    if "{" in source or "}" in source:
        template = source
        sources = _placeholders(template)
    else:
        sources = tuple(part.replace("[]", "").strip() for part in source.split(","))
    if not all(sources) or not sources or name == "":
        raise MappingError(f"{spec!r} names no field; write FIELD, FIELD,FIELD or NAME=FIELD")
    if each and (len(sources) > 1 or template):
        if passages:
            raise MappingError(f"{spec!r}: passages are made of one field; name one field and no template")
        raise MappingError(f"{spec!r}: [] makes a vector of each value of one field; name one field and no template")
    if modality == "image" and (template or len(sources) > 1 or passages):
        raise MappingError(f"{spec!r}: an image vector is made from one field that refers to an image")
    return {
        "field": name or default_name(sources),
        "modality": modality,
        "sources": sources,
        "index_type": index_type,
        "template": template,
        "each": each,
        "passages": passages,
    }


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
