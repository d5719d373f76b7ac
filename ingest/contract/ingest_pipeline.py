"""The ingest pipeline by which the server plugin keeps an index's vectors as new documents come in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.ingest.contract.fields import read_mappings, recorded_fields
from crosslens.ingest.contract.record import VectorField
from crosslens.retrying import patient


def processors(fields: Iterable[VectorField], *, record_errors: bool = True) -> list[dict[str, Any]]:
    """A ``crosslens`` processor for each vector field, with the field's own model.

    Documents without a source pass. With ``record_errors`` so do those whose image can't be encoded, with the reason
    in their state, as `crosslens.add_vectors` leaves them; otherwise they are refused.
    """
    made = []
    for each in fields:
        body: dict[str, Any] = {
            "model": each.fingerprint,
            "field": each.path,
            "modality": each.modality,
            "ignore_missing": True,
            "record_errors": record_errors,
        }
        body |= {"template": each.template} if each.template is not None else {"source": list(each.sources)}
        if each.each:
            body["each"] = True
        made.append({"crosslens": body})
    return made


def put_pipeline(
    client: Elasticsearch,
    index: str,
    name: str | None = None,
    *,
    record_errors: bool = True,
    default: bool = False,
    dry_run: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Puts the pipeline ``name`` (``crosslens-INDEX`` by default) for the vector fields that ``index`` records.

    With ``default`` every document written to the index goes through it from now on. Returns its name and body; with
    ``dry_run`` nothing is written. Raises `MappingError` when the index has no vector fields, or several indices that
    ``index`` stands for record different ones.
    """
    client = patient(client)
    mappings = read_mappings(client, index)
    fields = recorded_fields(index, mappings)
    name = name or f"crosslens-{index}"
    body = {
        "description": f"vectors of {index}, encoded by the crosslens plugin",
        "processors": processors(fields.values(), record_errors=record_errors),
        "_meta": {"crosslens": {"index": index}},
    }
    if not dry_run:
        client.ingest.put_pipeline(id=name, body=body)
        if default:
            for each in mappings:
                client.indices.put_settings(index=each, settings={"index.default_pipeline": name})
    return name, body
