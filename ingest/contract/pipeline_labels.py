"""The steps of an ingest pipeline that give labels to new documents, by the vectors that the steps before have made.

A step names its label set by where the numbers lie (see `crosslens.ingest.contract.stored_labels`) and by fingerprint;
the plugin reads them itself.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from elasticsearch import AuthorizationException, Elasticsearch

from crosslens.ingest.contract.record import LabelEntry, VectorField, read_record

TYPE = "crosslens_labels"
_ENCODES = "crosslens"
_LOG = logging.getLogger("crosslens")


def label_steps(mappings: Mapping[str, Mapping[str, Any]], fields: Iterable[VectorField]) -> list[dict[str, Any]]:
    """A step for each field of labels that the mappings record, if they are given by vectors in one of ``fields``.

    Captions have none: their words aren't stored. Nor have labels of another model's vectors, which the next run
    replaces, or those of which several indices record different ones, which is logged.
    """
    by_name = {each.field: each for each in fields}
    entries: dict[str, dict[str, LabelEntry]] = {}
    for index in sorted(mappings):
        for into, entry in read_record(mappings[index]).labels.items():
            entries.setdefault(into, {})[index] = entry
    steps = []
    for into, found in sorted(entries.items()):
        if len({entry.fingerprint for entry in found.values()}) > 1:
            _LOG.warning("%s record different labels in %s, which are left to runs of label", ", ".join(found), into)
            continue
        index, entry = next(iter(found.items()))
        each = by_name.get(entry.field)
        if each is not None and each.fingerprint == entry.model and entry.kind != "caption":
            steps.append({TYPE: _step(index, into, entry, each)})
    return steps


def _step(index: str, into: str, entry: LabelEntry, each: VectorField) -> dict[str, Any]:
    return {
        "index": index,
        "into": into,
        "labels": entry.fingerprint,
        "field": each.path,
        "model": each.fingerprint,
    }


def within_plugin(client: Elasticsearch, index: str, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``steps``; none where a node that ingests has a plugin that is too old for them, which is logged."""
    if not steps:
        return []
    try:
        nodes = client.nodes.info(metric="ingest").body["nodes"].values()
    except AuthorizationException as error:
        _LOG.warning("whether the plugin gives labels isn't known (privilege: monitor): %s", error)
        return steps
    if gives_labels(nodes):
        return steps
    names = ", ".join(step[TYPE]["into"] for step in steps)
    _LOG.warning("the cluster's plugin is too old to give labels: %s of %s is left to runs of label", names, index)
    return []


def gives_labels(nodes: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether every node that makes vectors gives labels as well; nodes as ``_nodes/ingest`` has them."""
    found = [{each["type"] for each in node.get("ingest", {}).get("processors", ())} for node in nodes]
    return all(TYPE in types for types in found if _ENCODES in types)
