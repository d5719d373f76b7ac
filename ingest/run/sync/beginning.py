"""What comes before following: the settings that indices suggest, and a client whose requests are counted."""

from __future__ import annotations

import time
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.errors import ModelError
from crosslens.ingest.contract.fields import choose, read_mappings
from crosslens.ingest.contract.record import read_record
from crosslens.ingest.model.known import find
from crosslens.ingest.run.sync.settings import Known
from crosslens.ingest.run.sync.state import SyncState
from crosslens.retrying import BUSY


def recorded(client: Elasticsearch, name: str) -> Known:
    """What the indices behind ``name`` record: vector fields, folders of images, and where this machine has the models.

    Raises `MappingError` where there is no such index, or it has no vectors.
    """
    mappings = read_mappings(client, name)
    fields = choose(name, mappings, None)
    roots: dict[str, str] = {}
    for mapping in mappings.values():
        roots = {**read_record(mapping).image_roots, **roots}
    models, lacking = [], []
    for each in fields.values():
        try:
            models.append(str(find(each.fingerprint, each.model)[0]))
        except ModelError:
            lacking.append(f"{each.model} ({each.fingerprint})")
    pictures = [each.field for each in fields.values() if each.modality == "image"]
    used = list(dict.fromkeys(roots[field] for field in pictures if field in roots))
    return Known(name, list(fields), used, bool(pictures), models, lacking)


def counted(client: Elasticsearch, state: SyncState) -> Elasticsearch:
    """The client, whose requests count in ``state`` from here on, and those of clients made of it."""
    transport: Any = client.transport
    perform = transport.perform_request

    def counting(*what: Any, **how: Any) -> Any:
        started = time.perf_counter()
        failed = True
        try:
            answer = perform(*what, **how)
            failed = answer.meta.status in BUSY
            return answer
        finally:
            state.requests += 1
            state.requests_failed += failed
            state.server_s += time.perf_counter() - started

    transport.perform_request = counting
    return client
