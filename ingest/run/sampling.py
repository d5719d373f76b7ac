"""Texts and pictures of an index's documents, as a calibration set for an export."""

from __future__ import annotations

import logging
from pathlib import Path

from elasticsearch import Elasticsearch

from crosslens.errors import CrosslensError
from crosslens.ingest.contract import documents
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import recorded_fields
from crosslens.ingest.contract.settings import page_limits
from crosslens.ingest.model.calibration import MOST_IMAGES, MOST_TEXTS, Calibration, calibration_of
from crosslens.ingest.run.run import Options, Run
from crosslens.ingest.run.tasks import wanted_paths
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.images import ImageSource

_LOG = logging.getLogger("crosslens")
_MOST_BYTES = 256 << 20


def sample_index(client: Elasticsearch, index: str, *, image_root: Path | None = None) -> Calibration:
    """Return what the vector fields of ``index`` are made from, of a random sample of its documents.

    Images come from ``image_root``, or from where the index remembers. Those that can't be read are counted. Raises
    `MappingError` where the index has no vector fields, `ExportError` where its documents hold too little.
    """
    run = Run.begin(client, index, Options(images=ImageAccess(image_root)))
    mappings = run.mappings()
    fields = recorded_fields(index, mappings)
    run = run.making(fields.values(), Encoders(), mappings)
    texts: list[str] = []
    images: list[ImageSource] = []
    unreadable = 0
    readers = {each.path: run.access.get(each.field, run.options.images).reader() for each in run.fields}
    hits = run.client.search(
        index=index,
        query={"function_score": {"query": {"match_all": {}}, "random_score": {}}},
        size=min(MOST_TEXTS, page_limits(run.client, index).window),
        source_includes=wanted_paths(run.fields),
    )["hits"]["hits"]
    room = _MOST_BYTES
    for hit in hits:
        for each in run.fields:
            values = documents.inputs(hit.get("_source") or {}, each)
            if each.modality == "text":
                texts += values
            for reference in values if each.modality == "image" else ():
                if len(images) == MOST_IMAGES or room <= 0:
                    break
                try:
                    data = readers[each.path].read(reference)
                    room -= len(data)
                    images.append(data)
                except CrosslensError as error:
                    unreadable += 1
                    _LOG.debug("not calibrated by: %s", error)
    return calibration_of(f"index {index}", texts, images, unreadable=unreadable)
