"""Making the index of a copy: with the original's settings and mapping, and the vector fields besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elasticsearch import ApiError

from crosslens.errors import MigrationError
from crosslens.ingest.contract.mapping import flat_properties, mapping_update
from crosslens.ingest.contract.record import read_record
from crosslens.ingest.run.copy_state import CopyState, read_state, with_state
from crosslens.ingest.run.run import Run

# Settings that belong to one index's identity, history or present condition, and not to what it is.
_OWN_SETTINGS = (
    "index.uuid",
    "index.history",
    "index.provided_name",
    "index.creation_date",
    "index.version.",
    "index.resize.",
    "index.blocks.",
    "index.verified_before_close",
    "index.routing.allocation.initial_recovery.",
    "index.lifecycle.indexing_complete",
)


def create(run: Run, into: str, mapping: Mapping[str, Any]) -> None:
    """Creates ``into`` like the run's index, whose ``mapping`` is given. Raises `MigrationError` where it can't be."""
    old = run.index
    settings = run.client.indices.get_settings(index=old, flat_settings=True)[old]["settings"]
    kept = {key: value for key, value in settings.items() if not key.startswith(_OWN_SETTINGS)}
    state = CopyState(old)
    try:
        run.client.indices.create(index=into, settings=kept, mappings=copied_mapping(run, mapping, state))
    except ApiError as error:
        if read_state(run.client, into) == state:
            # Asked for twice, after the first answer was lost.
            return
        raise MigrationError(f"the index {into!r} can't be made like {old!r}: {error}") from error


def copied_mapping(run: Run, mapping: Mapping[str, Any], state: CopyState) -> dict[str, Any]:
    """The original's mapping with the run's fields and the state of the copy."""
    properties = dict(mapping.get("properties") or {})
    mapped = flat_properties(mapping)
    for each in run.fields:
        if mapped.get(each.vector_path, {}).get("dims") not in (None, each.dims):
            # A field of other dims than before is mapped anew.
            _drop_property(properties, each.path.split("."))
    kept = {**mapping, "properties": properties}
    update = mapping_update(
        kept, read_record(mapping).with_fields(run.fields).with_image_roots(run.image_roots), run.fields
    )
    _merge(properties, update["properties"])
    return {**mapping, "properties": properties, "_meta": with_state(update["_meta"], state)}


def _drop_property(properties: dict[str, Any], parts: list[str]) -> None:
    if len(parts) == 1:
        properties.pop(parts[0], None)
    elif parts[0] in properties:
        properties[parts[0]] = {**properties[parts[0]]}
        inner = properties[parts[0]]["properties"] = dict(properties[parts[0]].get("properties") or {})
        _drop_property(inner, parts[1:])


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key] = dict(into[key])
            _merge(into[key], value)
        else:
            into[key] = value
