"""Settings of an index that decide how it is read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elasticsearch import AuthorizationException, Elasticsearch

from crosslens.client import server_version
from crosslens.ingest.model.transform import Float32Array

_BASE64_SINCE = (9, 3)
_WINDOW, _SLICES = "index.max_result_window", "index.max_slices_per_scroll"


@dataclass(frozen=True)
class PageLimits:
    """The most documents that one page of a search may have, and the most slices of a reading."""

    window: int = 10_000
    slices: int = 1024


def page_limits(client: Elasticsearch, index: str) -> PageLimits:
    """The least limits of the indices behind a name; Elasticsearch's own where this user may not read settings."""
    try:
        settings = client.indices.get_settings(
            index=index, name=[_WINDOW, _SLICES], flat_settings=True, expand_wildcards="open"
        )
    except AuthorizationException:
        return PageLimits()
    own = [entry["settings"] for entry in settings.values()]
    usual = PageLimits()
    return PageLimits(
        min((int(each.get(_WINDOW, usual.window)) for each in own), default=usual.window),
        min((int(each.get(_SLICES, usual.slices)) for each in own), default=usual.slices),
    )


def index_uuids(client: Elasticsearch, index: str) -> dict[str, str]:
    """The uuid of every open index behind a name; it changes when an index is deleted and made anew."""
    name = "index.uuid"
    settings = client.indices.get_settings(index=index, name=name, flat_settings=True, expand_wildcards="open")
    return {each: entry["settings"][name] for each, entry in settings.items()}


def vector_packer(client: Elasticsearch, index: str) -> Callable[[Float32Array], Any]:
    """How vectors go over the wire: base64 where the server takes it and keeps them out of ``_source``.

    In an index that keeps vectors in ``_source``, base64 would stay there and its readers expect numbers.
    """
    if server_version(client) >= _BASE64_SINCE:
        name = "index.mapping.exclude_source_vectors"
        settings = client.indices.get_settings(
            index=index, name=name, include_defaults=True, flat_settings=True, expand_wildcards="open"
        )
        values = [{**e.get("defaults", {}), **e.get("settings", {})}.get(name) for e in settings.values()]
        if values and all(str(value).lower() == "true" for value in values):
            from elasticsearch.helpers import pack_dense_vector

            return pack_dense_vector
    return lambda vector: vector.tolist()
