"""The index contract: what an index's mapping and its documents say about their vectors.

Everything here is plain data in and plain data out; `crosslens.ingest.write` sends it.

The mapping's ``_meta.crosslens.fields`` names each vector field's sources, modality and model. Each document keeps,
under ``crosslens.FIELD``, the hash of what was encoded, the model's fingerprint, and an error or the reason why there
was nothing to encode. So what still has to be done is a query, and a run needs no other memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crosslens.errors import MappingError

Modality = Literal["text", "image"]
STATE = "crosslens"
META = "crosslens"
META_VERSION = 1
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
    """A vector field that is wanted: which source fields it is made from, and how it is indexed."""

    field: str
    modality: Modality
    sources: tuple[str, ...]
    index_type: str = DEFAULT_INDEX_TYPE


@dataclass(frozen=True)
class VectorField:
    """A vector field as an index's mapping records it."""

    field: str
    modality: Modality
    sources: tuple[str, ...]
    model: str
    fingerprint: str
    dims: int
    index_type: str


def default_name(sources: Sequence[str]) -> str:
    """The vector field's name when none is given: ``title_vector`` of title and description."""
    return f"{sources[0].replace('.', '_')}_vector"


def vector_fields(mapping: Mapping[str, Any]) -> dict[str, VectorField]:
    """The vector fields that one index's mapping (its ``mappings`` object) records, by name.

    Raises `MappingError` when the record was written by a newer crosslens.
    """
    meta = (mapping.get("_meta") or {}).get(META) or {}
    if meta and meta.get("version") != META_VERSION:
        raise MappingError(
            f"the index's _meta.{META} is of version {meta.get('version')}, this crosslens reads {META_VERSION}; "
            "upgrade crosslens"
        )
    fields = {}
    for name, entry in (meta.get("fields") or {}).items():
        fields[name] = VectorField(field=name, **{**entry, "sources": tuple(entry["sources"])})
    return fields


def mapping_update(mapping: Mapping[str, Any], fields: Iterable[VectorField]) -> dict[str, Any]:
    """The put-mapping body that adds ``fields`` to an index with ``mapping``, keeping its other ``_meta``."""
    properties: dict[str, Any] = {}
    states: dict[str, Any] = {}
    recorded = dict(vector_fields(mapping))
    for field in fields:
        recorded[field.field] = field
        _nest(properties, field.field, _vector_mapping(field), through="properties")
        _nest(states, field.field, {"properties": _STATE_MAPPING}, through="properties")
    properties[STATE] = {"properties": states}
    meta = dict(mapping.get("_meta") or {})
    entries = {}
    for name, field in recorded.items():
        entry = asdict(field)
        del entry["field"]
        entries[name] = {**entry, "sources": list(field.sources)}
    meta[META] = {"version": META_VERSION, "fields": entries}
    return {"properties": properties, "_meta": meta}


# The hashes and the fingerprint are looked up whole; error texts are for people, and kept searchable up to a length.
_STATE_MAPPING: dict[str, Any] = {
    "source": {"type": "keyword"},
    "content": {"type": "keyword"},
    "model": {"type": "keyword"},
    "error": {"type": "keyword", "ignore_above": 1024},
    "skipped": {"type": "keyword", "ignore_above": 1024},
}


def _vector_mapping(field: VectorField) -> dict[str, Any]:
    return {
        "type": "dense_vector",
        "dims": field.dims,
        "index": True,
        "similarity": "cosine",
        "index_options": {"type": field.index_type},
    }


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
    index: str, mapping: Mapping[str, Any], target: Target, *, model: str, fingerprint: str, dims: int
) -> VectorField:
    """The field to record for ``target`` in ``index``, new or as it is already recorded.

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
    wanted = VectorField(target.field, target.modality, target.sources, model, fingerprint, dims, target.index_type)
    recorded = vector_fields(mapping).get(target.field)
    existing = properties.get(target.field)
    if existing is None:
        return wanted
    place = f"the field {target.field!r} of index {index!r}"
    if existing.get("type") != "dense_vector":
        kind = existing.get("type", "object")
        raise MappingError(f"{place} exists and is of type {kind}, not dense_vector; choose another name with --into")
    if existing.get("dims") != dims:
        raise MappingError(
            f"{place} holds vectors of {existing.get('dims')} dims, but {model} makes {dims}; "
            "choose another name with --into"
        )
    if recorded is None:
        raise MappingError(f"{place} holds vectors that crosslens didn't make; choose another name with --into")
    if recorded.fingerprint != fingerprint:
        raise MappingError(
            f"{place} holds vectors of {recorded.model} ({recorded.fingerprint}), not of {model} ({fingerprint}); "
            "vectors of two models can't be compared: use that model, or another name with --into"
        )
    if (recorded.modality, recorded.sources) != (target.modality, target.sources):
        raise MappingError(
            f"{place} is made from {recorded.modality} {list(recorded.sources)}, not from "
            f"{target.modality} {list(target.sources)}; choose another name with --into"
        )
    return recorded


def _check_source(index: str, properties: Mapping[str, Any], source: str, target: Target) -> None:
    definition = properties.get(source)
    if definition is None:
        return
    kinds = _TEXT_TYPES if target.modality == "text" else _IMAGE_TYPES
    kind = definition.get("type", "object")
    if kind not in kinds:
        what = "text" if target.modality == "text" else "image paths"
        raise MappingError(
            f"the field {source!r} of index {index!r} is of type {kind}; "
            f"{what} can be read from {', '.join(sorted(kinds))}"
        )


def todo_query(fields: Iterable[VectorField], searchable: set[str], *, retry_failed: bool) -> dict[str, Any]:
    """Documents that still lack a vector of any of ``fields``.

    A document counts when one of the field's sources has a value and no state is recorded; with ``retry_failed`` also
    when the state is an error. Sources not in ``searchable`` can't be asked for, so all documents without state count.
    """
    return _any([missing_query(field, searchable, retry_failed=retry_failed) for field in fields])


def missing_query(field: VectorField, searchable: set[str], *, retry_failed: bool = False) -> dict[str, Any]:
    """As `todo_query`, for one field."""
    state = f"{STATE}.{field.field}"
    without = {"bool": {"must_not": [{"exists": {"field": f"{state}.model"}}]}}
    due = _any([without, failed_query(field)]) if retry_failed else without
    filters = [due]
    if set(field.sources) <= searchable:
        # A value longer than a keyword's ignore_above isn't indexed, but named in _ignored.
        has = [{"exists": {"field": source}} for source in field.sources]
        has += [{"term": {"_ignored": source}} for source in field.sources]
        filters.append(_any(has))
    return {"bool": {"filter": filters}}


def failed_query(field: VectorField) -> dict[str, Any]:
    """Documents whose last attempt failed. A very long error is not indexed, but named in _ignored."""
    error = f"{STATE}.{field.field}.error"
    return _any([{"exists": {"field": error}}, {"term": {"_ignored": error}}])


def _any(queries: list[dict[str, Any]]) -> dict[str, Any]:
    return queries[0] if len(queries) == 1 else {"bool": {"should": queries, "minimum_should_match": 1}}


def source_values(document: Mapping[str, Any], path: str) -> list[str]:
    """The values at a dotted path of a document's source, in order; nested objects, arrays and dotted keys all work.

    Numbers and booleans come as JSON writes them. Empty and blank strings count as no value.
    """
    values: list[str] = []

    def walk(node: Any, parts: list[str]) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item, parts)
        elif not parts:
            if isinstance(node, str):
                values.append(node)
            elif isinstance(node, int | float):
                values.append(json.dumps(node))
        elif isinstance(node, dict):
            for i in range(1, len(parts) + 1):
                key = ".".join(parts[:i])
                if key in node:
                    walk(node[key], parts[i:])

    walk(dict(document), path.split("."))
    return [value for value in values if value.strip()]


def source_text(document: Mapping[str, Any], sources: Sequence[str]) -> str | None:
    """What is encoded of text sources: values of one field joined by commas, fields by full stops; None for nothing."""
    parts = [", ".join(v.strip() for v in source_values(document, source)) for source in sources]
    return ". ".join(part.rstrip(".") for part in parts if part) or None


def source_image(document: Mapping[str, Any], sources: Sequence[str]) -> str | None:
    """The image reference to encode: the first value of the first source that has one; None for nothing."""
    for source in sources:
        values = source_values(document, source)
        if values:
            return values[0].strip()
    return None


def content_hash(data: bytes) -> str:
    """32 hex digits of sha256: enough to tell any two sources apart, half the size in every document."""
    return hashlib.sha256(data).hexdigest()[:32]


def source_hash(value: str | None) -> str:
    """The hash that a document's state records for a text or an image reference."""
    return content_hash((value or "").encode())


@dataclass(frozen=True)
class State:
    """What a document records about one vector field; see the module's description."""

    source: str
    model: str
    content: str | None = None
    error: str | None = None
    skipped: str | None = None


def document_update(
    states: Mapping[str, State], vectors: Mapping[str, Any], previous: Mapping[str, Any]
) -> dict[str, Any]:
    """The partial document that an update merges: vectors and states, by field.

    What the document in ``previous`` (its source) still says of an earlier attempt is set to null.
    """
    update: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for field, state in states.items():
        again = state_of(previous, field) is not None
        _nest(nested, field, {k: v for k, v in asdict(state).items() if v is not None or again})
        if field in vectors:
            _nest(update, field, vectors[field])
        elif again:
            _nest(update, field, None)
    update[STATE] = nested
    return update


def state_of(document: Mapping[str, Any], field: str) -> dict[str, Any] | None:
    """The recorded state of ``field`` in a document's source, or None."""
    node: Any = document.get(STATE)
    for part in field.split("."):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node if isinstance(node, dict) and node.get("model") else None


def _nest(tree: dict[str, Any], path: str, value: Any, *, through: str | None = None) -> None:
    """Puts ``value`` at a dotted path of nested objects; a mapping nests ``through`` "properties"."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if through:
            tree = tree.setdefault(through, {})
    tree[leaf] = value
