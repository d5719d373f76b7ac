"""Which vector fields are wanted: what each is made from, and how it is indexed."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import PARTS, Modality, Part
from crosslens.ingest.sources.decoding.shapes import Cutting

INDEX_TYPES = ("int8_hnsw", "hnsw", "int4_hnsw", "bbq_hnsw", "flat", "int8_flat", "int4_flat", "bbq_flat")

DEFAULT_INDEX_TYPE = "int8_hnsw"
_PASSAGES = "[passages]"


@dataclass(frozen=True, eq=False)
class Target:
    """A vector field to make: which source fields it is made from, and how it is indexed.

    `TextField`, `ImageField`, `AudioField` and `VideoField` are its kinds. ``template`` says how text sources are put
    together; with ``each`` every value of the one source gets a vector of its own, with ``passages`` every passage of
    each value. Of sound and footage each moment of every file gets one, made of its ``part`` (None: what the field has
    already, else the most that the model reads) and cut as ``cutting`` says (None: as the field has it, else shots).
    """

    field: str
    modality: Modality
    sources: tuple[str, ...]
    index_type: str = DEFAULT_INDEX_TYPE
    template: str | None = None
    each: bool = False
    passages: bool = False
    part: Part | None = None
    cutting: Cutting | None = None

    # A field is what it says, however it was made.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Target) and astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash(astuple(self))


def settled(target: Target, part: Part | None, cutting: Cutting | None) -> Target:
    """The target of sound or footage with what it left open."""
    return Target(
        **{**{each.name: getattr(target, each.name) for each in fields(Target)}, "part": part, "cutting": cutting}
    )


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


class AudioField(Target):
    """Vectors of the sound that a field refers to, by path or URL: one for each moment of it, from start to end in ms.

    AudioField("clip")                              # steps of 5 s
    AudioField("clip", cutting=Cutting(step_s=2))   # steps of 2 s
    """

    def __init__(
        self,
        source: str,
        *,
        of: Part = "sound",
        name: str | None = None,
        cutting: Cutting | None = None,
        index_type: str = DEFAULT_INDEX_TYPE,
    ):
        """``of`` "captions" encodes the words of captions beside the file or in it; other arguments as in `VideoField`.

        Raises `MappingError` for a source that makes no field.
        """
        super().__init__(**_described(source, "audio", name, index_type, part=of, cutting=cutting))


class VideoField(Target):
    """Vectors of the footage that a field refers to, by path or URL: one for each moment of it, from start to end in
    ms.

    VideoField("footage")                           # what the model reads: pictures and sound, or frames
    VideoField("footage", of="frames", name="scenes")
    VideoField("footage", of="sound", name="heard")
    """

    def __init__(
        self,
        source: str,
        *,
        of: Part | None = None,
        name: str | None = None,
        cutting: Cutting | None = None,
        index_type: str = DEFAULT_INDEX_TYPE,
    ):
        """``of`` says what of each moment is encoded: "frames" (a picture from its middle), "sound", "captions" (their
        words, beside the file or in it), or "both" (pictures and sound, by a model that reads video). ``cutting`` says
        how footage is cut into moments, by default into shots. Other arguments as in `TextField`.

        Raises `MappingError` for a source that makes no field.
        """
        super().__init__(**_described(source, "video", name, index_type, part=of, cutting=cutting))


def parse_target(
    spec: str, modality: Modality, index_type: str = DEFAULT_INDEX_TYPE, cutting: Cutting | None = None
) -> Target:
    """The field that ``[NAME=]SOURCE`` describes, as the command line writes it.

    SOURCE is ``title``; ``title,description`` (values joined by full stops); ``{title} by {brand}`` (a template, in
    which a missing field leaves nothing); ``photos[].url``, whose every value gets a vector of its own; or
    ``body[passages]``, whose every passage gets one. Of sound and footage, whose every moment gets one, brackets say
    what of it is encoded: ``footage[frames]``, ``[sound]``, ``[captions]`` or ``[both]``; ``cutting`` says what a
    moment is. Without NAME the field is called after its first source: ``title_vector``.

    Raises `MappingError` for anything else.
    """
    left, equals, right = spec.partition("=")
    if not equals or "{" in left:
        return Target(**_described(spec, modality, None, index_type, cutting=cutting))
    if not left.strip():
        raise MappingError(f"{spec!r} names no field; write FIELD, FIELD,FIELD or NAME=FIELD")
    return Target(**_described(right, modality, left.strip(), index_type, cutting=cutting))


def _described(
    source: str,
    modality: Modality,
    name: str | None,
    index_type: str,
    each: bool = False,
    passages: bool = False,
    part: Part | None = None,
    cutting: Cutting | None = None,
) -> dict[str, Any]:
    spec = source if name is None else f"{name}={source}"
    source = source.strip()
    moments = modality in ("audio", "video")
    if moments:
        source, part = _part(spec, source, modality, part)
        each = True
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
        if moments:
            raise MappingError(f"{spec!r}: moments are made of one field that refers to a file; name one field")
        raise MappingError(f"{spec!r}: [] makes a vector of each value of one field; name one field and no template")
    if moments and passages:
        raise MappingError(f"{spec!r}: passages are made of text", hint="write [captions] for the words of each moment")
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
        "part": part,
        "cutting": cutting,
    }


def _part(spec: str, source: str, modality: Modality, part: Part | None) -> tuple[str, Part | None]:
    """The source without the brackets that say what of a sound or video is encoded, and that part.

    Raises `MappingError` for a part that isn't known, or that a sound hasn't.
    """
    known = PARTS if modality == "video" else ("sound", "captions")
    bare, bracket, inside = source.rpartition("[")
    if bracket and source.endswith("]") and inside != "]" and inside != "passages]":
        given = next((each for each in PARTS if each == inside[:-1].strip()), None)
        if given is None:
            raise MappingError(
                f"{spec!r} names no part of a file; write one of {', '.join(f'[{each}]' for each in known)}"
            )
        source, part = bare, given
    if modality == "audio" and part is None:
        part = "sound"
    if part is not None and part not in known:
        raise MappingError(f"{spec!r}: {part} are made of footage, not of sound; make it a field of video")
    return source, part


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
