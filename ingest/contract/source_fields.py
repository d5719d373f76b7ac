"""Which fields a vector can be made from: those whose values stand in each document's ``_source`` under their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosslens.errors import MappingError
from crosslens.ingest.contract.targets import Target

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
_REFERRED = {"image": "image paths", "audio": "paths of sounds", "video": "paths of footage"}
# A template can put a value of any type into words, but these have none.
_WORDLESS = {"object", "nested", "passthrough", "flattened", "dense_vector", "sparse_vector", "rank_features", "binary"}


def check_source(index: str, mapping: Mapping[str, Any], source: str, target: Target) -> None:
    """Raises `MappingError` where the mapping shows that documents hold no value of the right kind under ``source``.

    One that the mapping doesn't name is the caller's to look for in documents.
    """
    definition, multi_field_of = _definition(mapping, source)
    if definition is None:
        return
    place = f"the field {source!r} of index {index!r}"
    kind = definition.get("type", "object")
    if multi_field_of is not None:
        raise MappingError(
            f"{place} only indexes the values of {multi_field_of!r} in another way, and documents hold no value there",
            hint=f"name the field that holds them: {multi_field_of}",
        )
    if kind == "alias":
        raise MappingError(
            f"{place} is an alias of {definition.get('path')!r}, and documents hold no value there",
            hint=f"name the field that holds them: {definition.get('path')}",
        )
    kinds = _TEXT_TYPES if target.modality == "text" else _IMAGE_TYPES
    if kind in kinds or (target.template is not None and kind not in _WORDLESS):
        return
    what = _REFERRED.get(target.modality, "text")
    raise MappingError(
        f"{place} is of type {kind}; {what} can be read from {', '.join(sorted(kinds))}",
        hint=f"name a key in it, as in {source}.KEY" if kind in ("object", "flattened", "passthrough") else "",
    )


def doubtful(mapping: Mapping[str, Any], source: str) -> bool:
    """Whether a field that is mapped, and found by queries, may have no value of its own in documents."""
    definition, _ = _definition(mapping, source)
    return bool(copied_from(mapping, source)) or (definition or {}).get("type") == "constant_keyword"


def why_empty(index: str, mapping: Mapping[str, Any], source: str) -> MappingError | None:
    """The error for a ``source`` that no document holds a value of, as far as the mapping explains that."""
    place = f"the field {source!r} of index {index!r}"
    origins = copied_from(mapping, source)
    if origins:
        return MappingError(
            f"{place} only collects what copy_to takes from {', '.join(origins)}, and documents hold no value there",
            hint=f"name the fields that hold them: {','.join(origins)}",
        )
    if source in (mapping.get("runtime") or {}):
        return MappingError(
            f"{place} is a runtime field, which is computed when it is searched, and documents hold no value there",
            hint="name the fields that it is computed from",
        )
    definition, _ = _definition(mapping, source)
    if definition is not None and definition.get("type") == "constant_keyword":
        return MappingError(
            f"{place} has its value in the mapping, and documents hold none",
            hint="write it into a template in words, or name another field",
        )
    for parent, properties in _objects(mapping):
        if properties.get("type") == "passthrough" and source in (properties.get("properties") or {}):
            return MappingError(
                f"{place} is a short name of {parent}.{source}, and documents hold no value there",
                hint=f"name the field that holds them: {parent}.{source}",
            )
    return None


def copied_from(mapping: Mapping[str, Any], source: str) -> list[str]:
    """The fields that copy their values into ``source``."""
    return [
        f"{parent}.{name}" if parent else name
        for parent, node in _objects(mapping)
        for name, definition in (node.get("properties") or {}).items()
        if source in _listed(definition.get("copy_to"))
    ]


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _definition(mapping: Mapping[str, Any], path: str) -> tuple[dict[str, Any] | None, str | None]:
    """What the mapping says of ``path``; and, of a multi-field, the path of the field that it belongs to."""
    for parent, node in _objects(mapping):
        for name, definition in (node.get("properties") or {}).items():
            here = f"{parent}.{name}" if parent else name
            if here == path:
                return dict(definition), None
            for part, multi in (definition.get("fields") or {}).items():
                if f"{here}.{part}" == path:
                    return dict(multi), here
    return None, None


def _objects(mapping: Mapping[str, Any], path: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    """The mapping itself, and every object in it, with its path."""
    found = [(path, mapping)]
    for name, definition in (mapping.get("properties") or {}).items():
        if definition.get("properties"):
            found += _objects(definition, f"{path}.{name}" if path else name)
    return found
