"""The ingest pipeline by which the server plugin keeps an index's vectors as new documents come in.

Its ``_meta.crosslens`` says for which index it was made and how, and which pipeline each index ran by default before:
so that it can follow the index's fields and models, and be taken away again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import ApiError, AuthorizationException, Elasticsearch

from crosslens.errors import MappingError
from crosslens.ingest.contract.fields import Mappings, read_mappings, recorded_fields
from crosslens.ingest.contract.pipeline_labels import label_steps, within_plugin
from crosslens.ingest.contract.pipeline_needs import beyond_plugin, check_needs
from crosslens.ingest.contract.record import META, VectorField, vector_fields
from crosslens.refusals import reason
from crosslens.retrying import patient

_DEFAULT = "index.default_pipeline"
# What the setting says where an index runs none, or where one is kept from running.
_NONE = "_none"
_LOG = logging.getLogger("crosslens")


@dataclass(frozen=True)
class IngestPipeline:
    """A pipeline of ours: its name, the index it encodes for, and what it was made with.

    ``previous`` are the default pipelines that it stands in for, by index.
    """

    name: str
    index: str
    record_errors: bool = True
    previous: dict[str, str] = field(default_factory=dict)

    def body(self, fields: Iterable[VectorField], labels: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
        """What is put: steps for the vector fields, then those that give ``labels``."""
        chained = sorted(set(self.previous.values()) - {_NONE})
        meta = {"index": self.index, "record_errors": self.record_errors, "previous": self.previous}
        return {
            "description": f"vectors of {self.index}, encoded by the crosslens plugin",
            "processors": [
                *({"pipeline": {"name": name}} for name in chained),
                *processors(fields, record_errors=self.record_errors),
                *labels,
            ],
            "_meta": {META: meta},
        }

    @classmethod
    def of(cls, name: str, body: Mapping[str, Any]) -> IngestPipeline | None:
        """The pipeline that a body describes; None for one that isn't ours."""
        meta = (body.get("_meta") or {}).get(META)
        if not isinstance(meta, dict) or "index" not in meta:
            return None
        ours = [each["crosslens"] for each in body.get("processors", ()) if "crosslens" in each]
        recorded = meta.get("record_errors", all(each.get("record_errors") for each in ours))
        return cls(name, meta["index"], bool(recorded), dict(meta.get("previous") or {}))


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
        if each.passages:
            body["passages"] = True
        elif each.each:
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

    With ``default`` every document written to the index goes through it from now on; a default pipeline that the index
    has already runs first. Returns its name and body; with ``dry_run`` nothing is written or checked.

    New documents are given the labels that ``index`` records as well. Fields of sound and footage, and those of
    passages that a plugin in the cluster is too old to make, are left to `crosslens.reindex`, and labels to
    `crosslens.label`, which is logged.

    Raises `MappingError` when the index has no vector fields, or only such ones, several indices that ``index``
    stands for record different ones, or another pipeline is in the way, and `ModelError` when a node that ingests lacks
    a model.
    """
    client = patient(client)
    mappings = read_mappings(client, index)
    fields = _encodable(client, index, recorded_fields(index, mappings).values())
    name = name or f"crosslens-{index}"
    present = _all_pipelines(client).get(name)
    before = None if present is None else IngestPipeline.of(name, present)
    if present is not None and (before is None or before.index != index):
        whose = "crosslens didn't make" if before is None else f"encodes for {before.index!r}"
        raise MappingError(f"there is a pipeline {name!r} that {whose}", hint="choose another name", parameter="name")
    previous = dict(before.previous) if before else {}
    if default:
        previous |= {each: other for each, other in _defaults(client, index).items() if other != name}
        if len(set(previous.values()) - {_NONE}) > 1:
            raise MappingError(
                f"the indices behind {index!r} have several default pipelines, {', '.join(sorted(previous.values()))}",
                hint="make a pipeline for each index by itself",
            )
    made = IngestPipeline(name, index, record_errors, previous)
    body = made.body(fields, within_plugin(client, index, label_steps(mappings, fields)))
    if not dry_run:
        check_needs(client, index, fields, chained=bool(set(previous.values()) - {_NONE}))
        client.ingest.put_pipeline(id=name, body=body)
        if default:
            for each in mappings:
                client.indices.put_settings(index=each, settings={_DEFAULT: name})
    return name, body


def _encodable(client: Elasticsearch, index: str, fields: Iterable[VectorField]) -> list[VectorField]:
    """The vector fields that the cluster's plugin can fill. Raises `MappingError` where there are none."""
    found = list(fields)
    if found and all(each.moments for each in found):
        raise MappingError(
            f"the server plugin encodes no sound or footage, which is all that {', '.join(e.field for e in found)} of "
            f"{index!r} are made of",
            hint="bring such fields up to date by runs from outside",
            verb="reindex",
        )
    able = _within_plugin(client, index, found)
    if found and not able:
        raise MappingError(
            f"the cluster's crosslens plugin is too old to make passages, which is all that "
            f"{', '.join(each.field for each in found)} of {index!r} holds",
            hint="install this release's plugin on every node, or bring such fields up to date by runs from outside",
            verb="plugin",
        )
    return able


def _within_plugin(client: Elasticsearch, index: str, fields: Collection[VectorField]) -> list[VectorField]:
    """``fields`` without those that the cluster's plugin is too old for, or never encodes, which are logged."""
    found = [each for each in fields if not each.moments]
    outside = ", ".join(each.field for each in fields if each.moments)
    if outside:
        _LOG.warning("the server plugin encodes no sound or footage: %s of %s is left to reindex", outside, index)
    beyond = beyond_plugin(client, found)
    if beyond:
        names = ", ".join(each.field for each in beyond)
        _LOG.warning("the cluster's plugin is too old to make passages: %s of %s is left to reindex", names, index)
    return [each for each in found if each not in beyond]


def remove_pipeline(
    client: Elasticsearch, index: str, name: str | None = None, *, dry_run: bool = False
) -> tuple[str, dict[str, Any]]:
    """Deletes the pipeline ``name`` (by default the only one) that encodes for ``index``, and puts back what was the
    default before. Returns its name and what it was.

    Raises `MappingError` when there is no such pipeline, or other indices still use it.
    """
    client = patient(client)
    found = [each for each in pipelines_of(client, index, read_mappings(client, index)) if name in (None, each[0].name)]
    if len(found) != 1:
        which = " or ".join(each.name for each, _ in found)
        raise MappingError(
            f"index {index!r} has several pipelines of crosslens, {which}"
            if found
            else f"index {index!r} has no pipeline {name or 'of crosslens'}",
            hint="name one of them" if found else "",
            parameter="name",
        )
    ((pipeline, body),) = found
    if not dry_run:
        _take_away(client, pipeline)
    return pipeline.name, body


def _take_away(client: Elasticsearch, pipeline: IngestPipeline) -> None:
    for each, default in _defaults(client, "*").items():
        if default == pipeline.name:
            client.indices.put_settings(index=each, settings={_DEFAULT: pipeline.previous.get(each)})
    try:
        client.options(ignore_status=404).ingest.delete_pipeline(id=pipeline.name)
    except ApiError as error:
        raise MappingError(f"the pipeline {pipeline.name!r} can't be deleted: {reason(error.body)}") from error


def pipelines_of(client: Elasticsearch, index: str, mappings: Mappings) -> list[tuple[IngestPipeline, dict[str, Any]]]:
    """Our pipelines, with their bodies, that encode for any of the indices behind a name.

    Where this user may not read pipelines it finds none, which is logged.
    """
    try:
        bodies = _all_pipelines(client)
        ours = [(pipeline, body) for name, body in bodies.items() if (pipeline := IngestPipeline.of(name, body))]
        defaults = set(_defaults(client, index).values()) if ours else set()
    except AuthorizationException as error:
        _LOG.warning(
            "whether an ingest pipeline encodes for %s isn't known (privilege: read_pipeline): %s", index, error
        )
        return []
    found = []
    for pipeline, body in ours:
        if pipeline.index == index or pipeline.name in defaults or _meets(client, pipeline.index, mappings):
            found.append((pipeline, body))
    return found


def _meets(client: Elasticsearch, name: str, mappings: Mappings) -> bool:
    behind = client.options(ignore_status=404).indices.get_alias(index=name, expand_wildcards="open").body
    return not mappings.keys().isdisjoint(behind)


def check_pipelines(client: Elasticsearch, index: str, mappings: Mappings, fields: Iterable[VectorField]) -> None:
    """Raises `ModelError` where a pipeline encodes for the index and a node that ingests lacks a model of ``fields``.

    For a change of model, before it: once the fields have changed, every write would fail.
    """
    if pipelines_of(client, index, mappings):
        check_needs(client, index, _within_plugin(client, index, list(fields)))


def follow(client: Elasticsearch, index: str, mappings: Mappings) -> None:
    """Brings the pipelines that encode for the indices up to the fields, models and labels that are recorded now.

    One whose index has no vector field any more that the plugin encodes is taken away.
    """
    for pipeline, body in pipelines_of(client, index, mappings):
        # It may have been made for a name that is gone.
        name = pipeline.index if _meets(client, pipeline.index, mappings) else index
        now = read_mappings(client, name)
        encoded = [each for mapping in now.values() for each in vector_fields(mapping).values() if not each.moments]
        if not encoded:
            _take_away(client, pipeline)
            continue
        fields = _within_plugin(client, name, recorded_fields(name, now).values())
        wanted = pipeline.body(fields, within_plugin(client, name, label_steps(now, fields)))
        if any(wanted[part] != body.get(part) for part in ("processors", "_meta")):
            client.ingest.put_pipeline(id=pipeline.name, body=wanted)


def _all_pipelines(client: Elasticsearch) -> dict[str, dict[str, Any]]:
    return dict(client.options(ignore_status=404).ingest.get_pipeline().body)


def _defaults(client: Elasticsearch, index: str) -> dict[str, str]:
    """The default pipelines of the indices behind a name that have one."""
    settings = client.indices.get_settings(
        index=index, name=_DEFAULT, flat_settings=True, expand_wildcards=["open", "hidden"]
    )
    return {each: entry["settings"][_DEFAULT] for each, entry in settings.items() if entry["settings"].get(_DEFAULT)}
