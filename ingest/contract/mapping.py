"""What an index's mapping must have for its vector fields, and whether it has room for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import STATE, Record, VectorField, meta_update, vector_fields
from crosslens.ingest.contract.source_fields import check_source
from crosslens.ingest.contract.targets import DEFAULT_INDEX_TYPE, INDEX_TYPES, Target, settled
from crosslens.ingest.sources.decoding.shapes import Cutting

_MAX_DIMS = 4096
# Both give the same score to vectors of unit length.
_SIMILARITIES = ("cosine", "dot_product")
_ELEMENTS = ("float", "bfloat16")
_FULL_TEXT_TYPES = ("text", "match_only_text", "search_as_you_type")


def mapping_update(mapping: Mapping[str, Any], record: Record, fields: Iterable[VectorField]) -> dict[str, Any]:
    """The put-mapping body that maps ``fields`` and their states, and records ``record``.

    Vectors that are mapped already keep the definition that they have.
    """
    properties: dict[str, Any] = {}
    states: dict[str, Any] = {}
    mapped = flat_properties(mapping)
    for each in fields:
        lacking = _lacking(mapped, each)
        if lacking:
            nest(properties, each.path, lacking, through="properties")
        nest(states, each.path, {"properties": state_mapping(each)}, through="properties")
    properties[STATE] = {"properties": states}
    return {"properties": properties, "_meta": meta_update(mapping, record)}


# The hashes and the fingerprint are looked up whole; error texts are for people, and kept searchable up to a length.
STATE_MAPPING: dict[str, Any] = {
    "source": {"type": "keyword"},
    "content": {"type": "keyword"},
    "model": {"type": "keyword"},
    "error": {"type": "keyword", "ignore_above": 1024},
    "skipped": {"type": "keyword", "ignore_above": 1024},
    "cut": {"type": "float"},
}


def state_mapping(each: VectorField) -> dict[str, Any]:
    """The mapping of the field's state; of sound and footage it also says how many moments lack their vector."""
    return {**STATE_MAPPING, "unfinished": {"type": "integer"}} if each.moments else STATE_MAPPING


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
    # What an inner hit returns, to identify the value of the document that matched; never searched.
    reference = {"type": "keyword", "index": False, "doc_values": False}
    position = {"type": "integer", "index": False, "doc_values": False}
    properties = {"vector": vector, "reference": reference, "position": position}
    if each.passages:
        # The hash shows which passages of a text that was changed are still the same.
        properties = {"vector": vector, "position": position, "start": position, "end": position, "hash": reference}
    if each.moments:
        # A search may ask for a time, and for words that are spoken then. What an inner hit returns comes from doc
        # values: the source of an hour's footage is megabytes of vectors.
        time: dict[str, Any] = {"type": "integer"}
        file: dict[str, Any] = {"type": "integer", "index": False}
        properties = {"vector": vector, "position": file, "start": time, "end": time, "hash": reference}
        properties["text"] = {"type": "text"}
    return {"type": "nested", "properties": properties}


def _lacking(mapped: Mapping[str, Mapping[str, Any]], each: VectorField) -> dict[str, Any]:
    """What the mapping lacks of the field's definition; nothing where all of it is there."""
    wanted = _vector_mapping(each)
    there = mapped.get(each.vector_path)
    if there is not None and there.get("dims") is None:
        # Elasticsearch would take the dims of the first vector that comes.
        wanted_vector = {**there, "dims": each.dims}
    elif there is not None:
        wanted_vector = None
    else:
        return wanted
    if not each.each:
        return wanted_vector or {}
    parts = {name: part for name, part in wanted["properties"].items() if f"{each.path}.{name}" not in mapped}
    if wanted_vector is not None:
        parts["vector"] = wanted_vector
    return {"type": "nested", "properties": parts} if parts else {}


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
    return list(searchable_texts([mapping]))


def searchable_texts(mappings: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """The full-text fields that can be searched in each of the indices, and the nested objects that they are in.

    That is the path of the innermost ones, or None. A field may be missing in some indices, or a keyword there; one
    that isn't indexed, or is of another type in any of them, is left out, and so is crosslens's own state.
    """
    every = [(flat_properties(mapping), mapping.get("runtime") or {}) for mapping in mappings]
    found: dict[str, str | None] = {}
    for properties, _ in every:
        for path, definition in properties.items():
            if definition.get("type") not in _FULL_TEXT_TYPES or path.startswith(f"{STATE}.") or path in found:
                continue
            within = _nested_in(properties, path)
            if all(path not in runtime and _reads_words(others, path, within) for others, runtime in every):
                found[path] = within
    return found


def _reads_words(properties: Mapping[str, Any], path: str, within: str | None) -> bool:
    definition = properties.get(path)
    if definition is None:
        return True
    kinds = (*_FULL_TEXT_TYPES, "keyword", "constant_keyword", "wildcard")
    indexed = definition.get("index", True) not in (False, "false")
    return definition.get("type") in kinds and indexed and _nested_in(properties, path) == within


def _nested_in(properties: Mapping[str, Any], path: str) -> str | None:
    """The path of the innermost nested objects that a field is in."""
    parent = path.rpartition(".")[0]
    while parent and properties.get(parent, {}).get("type") != "nested":
        parent = parent.rpartition(".")[0]
    return parent or None


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
        check_source(index, mapping, source, target)
    recorded = vector_fields(mapping).get(target.field)
    if target.modality in ("audio", "video"):
        target = _as_recorded(target, recorded)
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
        passages=target.passages,
        part=target.part,
        cutting=target.cutting,
    )
    place = f"the field {target.field!r} of index {index!r}"
    otherwise = "choose another name, as in NAME=FIELD"
    if recorded is None:
        return _check_new(place, properties, wanted, empty, otherwise)
    if recorded.fingerprint != fingerprint:
        raise MappingError(
            f"{place} holds vectors of {recorded.model} ({recorded.fingerprint}), not of {model} ({fingerprint}), "
            "and vectors of two models can't be compared",
            hint=f"use that model, {otherwise}, or change the model of the whole field",
            verb="migrate",
            parameter="model",
        )
    if recorded._making != wanted._making:
        raise MappingError(f"{place} is made from {recorded.made_from}, not from {wanted.made_from}", hint=otherwise)
    _check_mapped(place, properties, recorded, otherwise)
    return recorded


def _as_recorded(target: Target, recorded: VectorField | None) -> Target:
    """The target with what it leaves open of moments as the field has it, or else as it is by default."""
    there = recorded if recorded is not None and recorded.modality == target.modality else None
    part = target.part or (there.part if there else None)
    usual = Cutting(shots=target.modality == "video")
    return settled(target, part, target.cutting or (there.cutting if there else None) or usual)


def _check_new(
    place: str, properties: Mapping[str, Any], wanted: VectorField, empty: Collection[str], otherwise: str
) -> VectorField:
    """``wanted``, where the mapping has room for a field of that name."""
    check_room(place, properties, wanted.path, otherwise)
    existing = _check_mapped(place, properties, wanted, otherwise)
    if existing is None:
        return wanted
    if wanted.path not in empty:
        raise MappingError(f"{place} holds vectors that crosslens didn't make", hint=otherwise)
    _check_definition(place, existing, otherwise)
    kept = (existing.get("index_options") or {}).get("type", DEFAULT_INDEX_TYPE)
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
        raise MappingError(f"{place} exists and is of type {kind}, not dense_vector", hint=otherwise)
    if existing.get("dims") not in (None, wanted.dims):
        raise MappingError(
            f"{place} holds vectors of {existing.get('dims')} dims, but {wanted.model} makes {wanted.dims}",
            hint=otherwise,
        )
    return existing


def _check_definition(place: str, existing: Mapping[str, Any], otherwise: str) -> None:
    """Raises `MappingError` where vectors that were mapped by others aren't such as searches need."""
    element = existing.get("element_type", "float")
    if element not in _ELEMENTS:
        raise MappingError(f"{place} is for vectors of {element}, not of float", hint=otherwise)
    if existing.get("index") is False:
        raise MappingError(f"{place} isn't indexed (index: false), so it can't be searched", hint=otherwise)
    similarity = existing.get("similarity", "cosine")
    if similarity not in _SIMILARITIES:
        raise MappingError(
            f"{place} compares vectors by {similarity}; CLIP's are compared by {' or '.join(_SIMILARITIES)}",
            hint=otherwise,
        )


def check_room(place: str, properties: Mapping[str, Any], path: str, otherwise: str) -> None:
    """Raises `MappingError` where a field at ``path`` would lie in nested objects, or crosslens's state has no room."""
    parts = path.split(".")
    for i in range(1, len(parts)):
        parent = ".".join(parts[:i])
        kind = properties.get(parent, {}).get("type", "object")
        if kind != "object":
            raise MappingError(f"{place} would lie inside {parent!r}, which is of type {kind}", hint=otherwise)
    state = properties.get(STATE, {})
    if state.get("type", "object") != "object":
        raise MappingError(
            f"{place} can't be kept: the index uses the name {STATE!r}, where crosslens notes what is done, "
            f"for a field of type {state['type']}"
        )


def nest(tree: dict[str, Any], path: str, value: Any, *, through: str | None = None) -> None:
    """Puts ``value`` at a dotted path of nested objects; a mapping nests ``through`` "properties"."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if through:
            tree = tree.setdefault(through, {})
    tree[leaf] = value
