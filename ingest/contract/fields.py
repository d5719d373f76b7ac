"""Agreeing with real indices on their vector fields, and putting their mapping."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError

from crosslens.errors import MappingError, MixedModelsError
from crosslens.ingest.contract.documents import source_values
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder, usual_part
from crosslens.ingest.contract.mapping import check_target, flat_properties, mapping_update, state_mapping
from crosslens.ingest.contract.record import STATE, Record, VectorField, read_record, vector_fields
from crosslens.ingest.contract.settings import page_limits
from crosslens.ingest.contract.source_fields import doubtful, why_empty
from crosslens.ingest.contract.targets import Target, settled

Mappings = dict[str, dict[str, Any]]
_TRIES = 5
_SAMPLE = 100


def read_mappings(client: Elasticsearch, index: str) -> Mappings:
    """The ``mappings`` object of every open index that ``index`` (a name, alias, pattern or data stream) stands for.

    Raises `MappingError` when there is none, or one keeps no ``_source``.
    """
    try:
        found = client.indices.get_mapping(index=index, expand_wildcards="open")
    except NotFoundError as error:
        raise no_such_index(index, client.indices.get_alias(index="*", expand_wildcards="open")) from error
    return usable_mappings(index, found.body)


def usable_mappings(index: str, found: Mapping[str, Any]) -> Mappings:
    """The ``mappings`` objects of a get-mapping answer. Raises `MappingError` as `read_mappings` does."""
    if not found:
        raise MappingError(f"no index matches {index!r}")
    mappings = {name: entry["mappings"] for name, entry in found.items()}
    for name, mapping in mappings.items():
        kept = mapping.get("_source") or {}
        if kept.get("enabled") is False:
            raise MappingError(f"index {name!r} keeps no _source, so its documents can't be read or updated")
        if kept.get("includes") or kept.get("excludes"):
            # An update makes the document anew from its _source: whatever isn't kept there would be gone.
            raise MappingError(
                f"index {name!r} keeps only a part of each document's _source (includes or excludes in its mapping); "
                "an update would lose the rest"
            )
    return mappings


def no_such_index(index: str, present: Iterable[str]) -> MappingError:
    """Return the error for a name that stands for no index, with what the cluster has: names like it, else the first.

    ``present`` are the names of all its indices.
    """
    known = sorted(name for name in present if not name.startswith("."))
    alike = difflib.get_close_matches(index, known)
    if not known:
        instead = "the cluster has no index"
    else:
        instead = f"did you mean {' or '.join(alike)}?" if alike else f"the cluster has {', '.join(known[:20])}"
    return MappingError(f"no index, alias or data stream is named {index!r}", hint=instead)


def recorded_fields(index: str, mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, VectorField]:
    """The vector fields in use that the mappings behind ``index`` record, by name.

    Raises `MappingError` when there is none, `MixedModelsError` when two indices differ in one field's model.
    """
    recorded: dict[str, VectorField] = {}
    for name, mapping in mappings.items():
        for field in vector_fields(mapping).values():
            if field.fingerprint != recorded.setdefault(field.field, field).fingerprint:
                raise MixedModelsError(f"{field.field!r} holds another model's vectors in {name!r} than elsewhere")
    if not recorded:
        raise MappingError(f"index {index!r} has no vectors yet", hint="add vectors to it first", verb="add")
    return recorded


def choose(
    index: str, mappings: Mapping[str, Mapping[str, Any]], names: Sequence[str] | None
) -> dict[str, VectorField]:
    """The `recorded_fields` that ``names`` (None: all) name. Raises `MappingError` for one that isn't there."""
    recorded = recorded_fields(index, mappings)
    missing = sorted(set(names or ()) - set(recorded))
    if missing:
        raise MappingError(f"index {index!r} has no vector field {', '.join(missing)}; it has {', '.join(recorded)}")
    return {name: field for name, field in recorded.items() if names is None or name in names}


def holders(mappings: Mapping[str, Mapping[str, Any]], field: str) -> dict[str, VectorField]:
    """By index the vector field of that name, where the index records one."""
    recorded = {index: vector_fields(mapping) for index, mapping in mappings.items()}
    return {index: fields[field] for index, fields in recorded.items() if field in fields}


def agree(
    client: Elasticsearch,
    index: str,
    mappings: Mapping[str, Mapping[str, Any]],
    targets: Sequence[Target],
    encoders: Encoders,
) -> list[VectorField]:
    """The fields to record for ``targets`` in each of the indices, made by the ``encoders`` that were given.

    Raises `MappingError` as `check_target` does, and `ModelError` as `Encoders.for_new` does.
    """
    names = [target.field for target in targets]
    if not targets:
        raise MappingError("name at least one source field to make vectors from")
    if len(set(names)) != len(names):
        raise MappingError(f"two vector fields would share a name: {names}", hint="name each, as in NAME=FIELD")
    check_sources(client, index, mappings, [source for target in targets for source in target.sources])
    fields: dict[str, VectorField] = {}
    made_by: dict[str, VectorEncoder] = {}
    targets = [_with_part(target, mappings) for target in targets]
    for target in targets:
        made_by[target.field] = encoders.for_new(target.modality, target.part)
    targets = [_made_of(target, made_by[target.field]) for target in targets]
    for name, mapping in mappings.items():
        for target in targets:
            encoder = made_by[target.field]
            fields[target.field] = check_target(
                name,
                mapping,
                target,
                model=encoder.name,
                fingerprint=encoder.fingerprint,
                dims=encoder.dims,
                empty=_empty_vectors(client, name, mapping, target.field),
            )
    return list(fields.values())


def _with_part(target: Target, mappings: Mapping[str, Mapping[str, Any]]) -> Target:
    """The target with the part of footage that the field has already, where it names none."""
    if target.modality != "video" or target.part is not None:
        return target
    there = [each for each in holders(mappings, target.field).values() if each.modality == "video"]
    return settled(target, there[0].part, target.cutting) if there else target


def _made_of(target: Target, encoder: VectorEncoder) -> Target:
    """The target with the part of footage that its encoder makes, where nothing names one."""
    if target.modality != "video" or target.part is not None:
        return target
    return settled(target, usual_part(encoder), target.cutting)


def _empty_vectors(client: Elasticsearch, index: str, mapping: Mapping[str, Any], path: str) -> list[str]:
    """``path``, if it is a vector field that crosslens doesn't know and no document has a value in."""
    if path in vector_fields(mapping):
        return []
    existing = flat_properties(mapping).get(path, {})
    if existing.get("type") == "nested":
        query: dict[str, Any] = {"nested": {"path": path, "query": {"match_all": {}}}}
    elif existing.get("type") == "dense_vector":
        query = {"exists": {"field": path}}
    else:
        return []
    return [] if client.count(index=index, query=query)["count"] else [path]


def check_sources(
    client: Elasticsearch, index: str, mappings: Mapping[str, Mapping[str, Any]], sources: Iterable[str]
) -> None:
    """Raises `MappingError` for a source field that no mapping and no document has, or that can't have a value."""
    mapped = {path for mapping in mappings.values() for path in flat_properties(mapping)}
    for source in sorted(set(sources)):
        if source in mapped and not any(doubtful(mapping, source) for mapping in mappings.values()):
            continue
        # An object with "dynamic": false or "enabled": false keeps fields that the mapping doesn't name.
        size = min(_SAMPLE, page_limits(client, index).window)
        sample = client.search(index=index, size=size, source_includes=[source], sort=["_doc"])["hits"]["hits"]
        if any(source_values(hit.get("_source") or {}, source) for hit in sample):
            continue
        for name, mapping in mappings.items():
            error = why_empty(name, mapping, source)
            if error is not None:
                raise error
        listing = ", ".join(sorted(p for p in mapped if not p.startswith(f"{STATE}.")))
        raise MappingError(f"index {index!r} has no field {source!r}; it has {listing or 'none'}")


def searchable_sources(client: Elasticsearch, index: str, fields: Iterable[VectorField]) -> set[str]:
    """The source fields that a query can ask for in every index: mapped, indexed, and not inside nested objects."""
    sources = sorted({source for each in fields for source in each.sources})
    caps = client.field_caps(index=index, fields=sorted({*sources, *_parents(sources)}))["fields"]

    def asked(source: str) -> bool:
        nested = any("nested" in caps.get(parent, {}) for parent in _parents([source]))
        kinds = caps.get(source, {}).values()
        return bool(kinds) and not nested and all(c.get("searchable") or c.get("aggregatable") for c in kinds)

    return {source for source in sources if asked(source)}


def _parents(paths: Iterable[str]) -> set[str]:
    parts = [path.split(".") for path in paths]
    return {".".join(each[:i]) for each in parts for i in range(1, len(each))}


def put_fields(
    client: Elasticsearch, index: str, fields: Sequence[VectorField], image_roots: Mapping[str, str] | None = None
) -> None:
    """Maps and records ``fields`` in one index, unless it is so already. Raises `MappingError` if the index refuses."""
    record_change(client, index, lambda record: record.with_fields(fields).with_image_roots(image_roots or {}), fields)


def record_change(
    client: Elasticsearch, index: str, change: Callable[[Record], Record], mapped: Sequence[VectorField] = ()
) -> Record:
    """Applies ``change`` to what one index's mapping records, mapping ``mapped`` in the same request.

    Another client may write the mapping's ``_meta`` at the same moment, and the server keeps the last one whole: so it
    is read again, and changed again where the change isn't there; ``change`` must bear to be applied twice. Raises
    `MappingError` when the index refuses.
    """
    for _ in range(_TRIES):
        mapping = client.indices.get_mapping(index=index)[index]["mappings"]
        present = read_record(mapping)
        wanted = change(present)
        properties = flat_properties(mapping)
        new = [each for each in mapped if not _is_mapped(properties, each)]
        if wanted == present and not new:
            return present
        body = mapping_update(mapping, wanted, new)
        try:
            client.indices.put_mapping(index=index, properties=body["properties"], meta=body["_meta"])
        except ApiError as error:
            raise MappingError(f"index {index!r} refused the mapping of the vector fields: {error}") from error
    raise MappingError(f"index {index!r}: other clients keep changing the mapping's _meta", hint="try again")


def record_search_settings(client: Elasticsearch, index: str, settings: Mapping[str, Any] | None) -> None:
    """Notes in every index behind the name how to fuse its searches (None: not any more)."""
    for name in read_mappings(client, index):
        record_change(client, name, lambda record: replace(record, search=dict(settings or {})))


def _is_mapped(properties: Mapping[str, Any], each: VectorField) -> bool:
    vectors = properties.get(each.vector_path, {})
    return vectors.get("dims") is not None and all(
        f"{STATE}.{each.path}.{name}" in properties for name in state_mapping(each)
    )


def of_one_model(index: str, fields: Iterable[VectorField]) -> None:
    """Raises `MappingError` where vectors of several models would become one model's without being named."""
    models = {each.fingerprint: each for each in fields}
    if len(models) > 1:
        listed = " and ".join(f"{each.field!r} of {each.model}" for each in models.values())
        raise MappingError(
            f"index {index!r} has vectors of several models, {listed}, and all would be made by other ones",
            hint="name the vector fields to change",
            verb="migrate",
            parameter="fields",
        )


def with_path(field: VectorField, path: str, encoder: VectorEncoder, index_type: str | None = None) -> VectorField:
    """The same field made by another encoder, at another path."""
    return replace(
        field,
        path=path,
        model=encoder.name,
        fingerprint=encoder.fingerprint,
        dims=encoder.dims,
        index_type=index_type or field.index_type,
    )
