"""The index contract: what an index's mapping says about its vectors.

Everything here is plain data in and plain data out; what a document says is in `crosslens.ingest.documents`.

The mapping's ``_meta.crosslens`` names each vector field's sources, modality and model. A field's name is a pointer:
its entry's ``path`` says which mapped field holds the vectors at present, so that a change of model (see
`crosslens.ingest.migrate`) fills a second field and then turns the pointer. Under ``next`` stand fields being filled
for that, under ``previous`` those that a rollback would return to.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from crosslens.errors import MappingError

Modality = Literal["text", "image"]
STATE = "crosslens"
META = "crosslens"
META_VERSION = 2
_SEARCH = "search"
_READABLE_VERSIONS = (1, 2)
INDEX_TYPES = ("int8_hnsw", "hnsw", "int4_hnsw", "bbq_hnsw", "flat", "int8_flat", "int4_flat", "bbq_flat")
DEFAULT_INDEX_TYPE = "int8_hnsw"
_MAX_DIMS = 4096
_TEXT_TYPES = {
    "text",
    "keyword",
    "match_only_text",
    "search_as_you_type",
    "wildcard",
    "constant_keyword",
    "annotated_text",
    "semantic_text",
}
_IMAGE_TYPES = {"text", "keyword", "wildcard", "match_only_text", "constant_keyword", "binary"}


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


@dataclass(frozen=True)
class VectorField:
    """A vector field as an index's mapping records it; ``path`` is the mapped field that holds it."""

    field: str
    modality: Modality
    sources: tuple[str, ...]
    model: str
    fingerprint: str
    dims: int
    index_type: str
    path: str = ""
    template: str | None = None
    each: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", self.field)

    @property
    def vector_path(self) -> str:
        """The ``dense_vector`` field: ``path`` itself, or the one in each of its nested objects."""
        return f"{self.path}.vector" if self.each else self.path

    @property
    def made_from(self) -> str:
        """The sources in a person's words."""
        source = self.template or ", ".join(self.sources)
        return f"{self.modality}: {source}" + (" (each)" if self.each else "")

    @property
    def _making(self) -> tuple[Any, ...]:
        return self.modality, self.sources, self.template, self.each


@dataclass(frozen=True)
class Record:
    """All that an index's ``_meta.crosslens`` holds, by field name; ``switched`` is when a pointer last turned.

    ``search`` is how the index's owner chose to fuse: ``weights`` by leg and a ``normaliser``, as `crosslens tune`
    notes them.
    """

    fields: dict[str, VectorField] = field(default_factory=dict)
    next: dict[str, VectorField] = field(default_factory=dict)
    previous: dict[str, VectorField] = field(default_factory=dict)
    switched: str | None = None
    search: dict[str, Any] = field(default_factory=dict)

    def with_fields(self, fields: Iterable[VectorField]) -> Record:
        """The same, with ``fields`` added or replaced."""
        return replace(self, fields={**self.fields, **{each.field: each for each in fields}})

    @property
    def all_fields(self) -> list[VectorField]:
        """Every entry, in use or not."""
        return [*self.fields.values(), *self.next.values(), *self.previous.values()]


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


def read_record(mapping: Mapping[str, Any]) -> Record:
    """What one index's mapping (its ``mappings`` object) records.

    Raises `MappingError` when the record was written by a newer crosslens.
    """
    meta = (mapping.get("_meta") or {}).get(META) or {}
    if meta and meta.get("version") not in _READABLE_VERSIONS:
        raise MappingError(
            f"the index's _meta.{META} is of version {meta.get('version')}, this crosslens reads {META_VERSION}; "
            "upgrade crosslens"
        )

    def entries(part: str) -> dict[str, VectorField]:
        return {
            name: VectorField(field=name, **{**entry, "sources": tuple(entry["sources"])})
            for name, entry in (meta.get(part) or {}).items()
        }

    return Record(
        entries("fields"), entries("next"), entries("previous"), meta.get("switched"), meta.get(_SEARCH) or {}
    )


def vector_fields(mapping: Mapping[str, Any]) -> dict[str, VectorField]:
    """The vector fields in use that one index's mapping records, by name. Raises as `read_record` does."""
    return read_record(mapping).fields


def own_paths(mapping: Mapping[str, Any]) -> list[str]:
    """Every path of a document that is crosslens's: vectors and states, old ones included."""
    return [STATE, *dict.fromkeys(each.path for each in read_record(mapping).all_fields)]


def meta_update(mapping: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """The ``_meta`` that says ``record``, keeping what else the index's ``_meta`` holds."""
    meta = dict(mapping.get("_meta") or {})
    parts = ("fields", "next", "previous")
    body = {k: v for k, v in (meta.get(META) or {}).items() if k not in (*parts, "switched", _SEARCH)}
    body["version"] = META_VERSION
    for part in parts:
        entries = {name: _entry(each) for name, each in getattr(record, part).items()}
        if entries or part == "fields":
            body[part] = entries
    if record.switched:
        body["switched"] = record.switched
    if record.search:
        body[_SEARCH] = record.search
    meta[META] = body
    return meta


def _entry(each: VectorField) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": each.path,
        "modality": each.modality,
        "sources": list(each.sources),
        "model": each.model,
        "fingerprint": each.fingerprint,
        "dims": each.dims,
        "index_type": each.index_type,
    }
    if each.template is not None:
        entry["template"] = each.template
    if each.each:
        entry["each"] = True
    return entry


def mapping_update(mapping: Mapping[str, Any], record: Record, fields: Iterable[VectorField]) -> dict[str, Any]:
    """The put-mapping body that maps ``fields`` and their states, and records ``record``."""
    properties: dict[str, Any] = {}
    states: dict[str, Any] = {}
    for each in fields:
        nest(properties, each.path, _vector_mapping(each), through="properties")
        nest(states, each.path, {"properties": _STATE_MAPPING}, through="properties")
    properties[STATE] = {"properties": states}
    return {"properties": properties, "_meta": meta_update(mapping, record)}


# The hashes and the fingerprint are looked up whole; error texts are for people, and kept searchable up to a length.
_STATE_MAPPING: dict[str, Any] = {
    "source": {"type": "keyword"},
    "content": {"type": "keyword"},
    "model": {"type": "keyword"},
    "error": {"type": "keyword", "ignore_above": 1024},
    "skipped": {"type": "keyword", "ignore_above": 1024},
}


def _vector_mapping(each: VectorField) -> dict[str, Any]:
    vector = {
        "type": "dense_vector",
        "dims": each.dims,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": each.index_type},
    }
    if not each.each:
        return vector
    # What an inner hit returns, to tell which of a document's values matched; never searched.
    told = {"type": "keyword", "index": False, "doc_values": False}
    position = {"type": "integer", "index": False, "doc_values": False}
    return {"type": "nested", "properties": {"vector": vector, "reference": told, "position": position}}


def flat_properties(mapping: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every mapped field by its dotted path, objects and multi-fields included."""
    found: dict[str, dict[str, Any]] = {}

    def walk(properties: Mapping[str, Any], prefix: str) -> None:
        for name, definition in properties.items():
            path = f"{prefix}{name}"
            found[path] = dict(definition)
            walk(definition.get("properties") or {}, f"{path}.")
            walk(definition.get("fields") or {}, f"{path}.")

    walk(mapping.get("properties") or {}, "")
    return found


def text_fields(mapping: Mapping[str, Any]) -> list[str]:
    """The full-text fields a keyword search reads by default, without crosslens's own state."""
    kinds = ("text", "match_only_text", "search_as_you_type")
    return [
        path
        for path, definition in flat_properties(mapping).items()
        if definition.get("type") in kinds and not path.startswith(f"{STATE}.")
    ]


def check_target(
    index: str,
    mapping: Mapping[str, Any],
    target: Target,
    *,
    model: str,
    fingerprint: str,
    dims: int,
    empty: Collection[str] = (),
) -> VectorField:
    """The field to record for ``target`` in ``index``, new or as it is already recorded.

    ``empty`` names mapped vector fields that no document has a value in: such a one is taken over.

    Raises `MappingError` for a source of a type that holds no text or image reference, a vector field that exists
    otherwise (other type, other dims, not made by crosslens, other source or modality, another model), an unknown
    index type, or too many dims. Sources missing from the mapping are the caller's to look for in documents.
    """
    if target.index_type not in INDEX_TYPES:
        raise MappingError(f"unknown index type {target.index_type!r}; one of {', '.join(INDEX_TYPES)}")
    if dims > _MAX_DIMS:
        raise MappingError(f"the model's vectors have {dims} dims; Elasticsearch indexes at most {_MAX_DIMS}")
    if not target.sources or len(set(target.sources)) != len(target.sources):
        raise MappingError(f"{target.field}: name each source field once, at least one; got {list(target.sources)}")
    properties = flat_properties(mapping)
    for source in target.sources:
        _check_source(index, properties, source, target)
    recorded = vector_fields(mapping).get(target.field)
    wanted = VectorField(
        target.field,
        target.modality,
        target.sources,
        model,
        fingerprint,
        dims,
        target.index_type,
        template=target.template,
        each=target.each,
    )
    place = f"the field {target.field!r} of index {index!r}"
    otherwise = "choose another name, as in NAME=FIELD"
    if recorded is None:
        return _check_new(place, properties, wanted, empty, otherwise)
    if recorded.fingerprint != fingerprint:
        raise MappingError(
            f"{place} holds vectors of {recorded.model} ({recorded.fingerprint}), not of {model} ({fingerprint}); "
            f"vectors of two models can't be compared: use that model, {otherwise}, or change the model of the whole "
            f"field with: crosslens migrate {index} --model FOLDER"
        )
    if recorded._making != wanted._making:
        raise MappingError(f"{place} is made from {recorded.made_from}, not from {wanted.made_from}; {otherwise}")
    _check_mapped(place, properties, recorded, otherwise)
    return recorded


def _check_new(
    place: str, properties: Mapping[str, Any], wanted: VectorField, empty: Collection[str], otherwise: str
) -> VectorField:
    """``wanted``, where the mapping has room for a field of that name."""
    check_room(place, properties, wanted.path, otherwise)
    existing = _check_mapped(place, properties, wanted, otherwise)
    if existing is None:
        return wanted
    if wanted.path not in empty:
        raise MappingError(f"{place} holds vectors that crosslens didn't make; {otherwise}")
    kept = (existing.get("index_options") or {}).get("type", wanted.index_type)
    return replace(wanted, index_type=kept)


def _check_mapped(
    place: str, properties: Mapping[str, Any], wanted: VectorField, otherwise: str
) -> dict[str, Any] | None:
    """The definition of the vectors in the mapping, if any; raises `MappingError` where it has no room for them."""
    existing: dict[str, Any] | None = properties.get(wanted.path)
    if existing is None:
        return None
    if wanted.each and existing.get("type") == "nested":
        existing = properties.get(wanted.vector_path, {})
    if existing.get("type") != "dense_vector":
        kind = existing.get("type", "object")
        raise MappingError(f"{place} exists and is of type {kind}, not dense_vector; {otherwise}")
    if existing.get("dims") != wanted.dims:
        raise MappingError(
            f"{place} holds vectors of {existing.get('dims')} dims, but {wanted.model} makes {wanted.dims}; {otherwise}"
        )
    return existing


def check_room(place: str, properties: Mapping[str, Any], path: str, otherwise: str) -> None:
    """Raises `MappingError` where a field at ``path`` would lie in nested objects, or crosslens's state has no room."""
    parts = path.split(".")
    for i in range(1, len(parts)):
        parent = ".".join(parts[:i])
        kind = properties.get(parent, {}).get("type", "object")
        if kind != "object":
            raise MappingError(f"{place} would lie inside {parent!r}, which is of type {kind}; {otherwise}")
    state = properties.get(STATE, {})
    if state.get("type", "object") != "object":
        raise MappingError(
            f"{place} can't be kept: the index uses the name {STATE!r}, where crosslens notes what is done, "
            f"for a field of type {state['type']}"
        )


def _check_source(index: str, properties: Mapping[str, Any], source: str, target: Target) -> None:
    definition = properties.get(source)
    if definition is None:
        return
    kinds = _TEXT_TYPES if target.modality == "text" else _IMAGE_TYPES
    kind = definition.get("type", "object")
    # What a template only puts into words, as in "size {size}", may be of any type that has a value.
    if kind in kinds or (target.template is not None and kind not in ("object", "nested", "dense_vector", "binary")):
        return
    what = "text" if target.modality == "text" else "image paths"
    raise MappingError(
        f"the field {source!r} of index {index!r} is of type {kind}; {what} can be read from {', '.join(sorted(kinds))}"
    )


def nest(tree: dict[str, Any], path: str, value: Any, *, through: str | None = None) -> None:
    """Puts ``value`` at a dotted path of nested objects; a mapping nests ``through`` "properties"."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if through:
            tree = tree.setdefault(through, {})
    tree[leaf] = value
