"""CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    from crosslens import Encoder, HybridSearcher, Target, add_vectors, connect

The names below are the public interface; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosslens.client import Connection, connect
    from crosslens.errors import (
        ConnectionFailedError,
        CrosslensError,
        ExportError,
        ImageError,
        MappingError,
        ModelError,
        NodeError,
        QueryError,
    )
    from crosslens.ingest.contract import Target
    from crosslens.ingest.encoder import Encoder
    from crosslens.ingest.write import AddReport, Options, add_vectors
    from crosslens.node import Node
    from crosslens.queries.hybrid import Hit, HybridSearcher, SearchResult

_HOMES = {
    "crosslens.client": ("Connection", "connect"),
    "crosslens.errors": (
        "ConnectionFailedError",
        "CrosslensError",
        "ExportError",
        "ImageError",
        "MappingError",
        "ModelError",
        "NodeError",
        "QueryError",
    ),
    "crosslens.ingest.contract": ("Target",),
    "crosslens.ingest.encoder": ("Encoder",),
    "crosslens.ingest.write": ("AddReport", "Options", "add_vectors"),
    "crosslens.node": ("Node",),
    "crosslens.queries.hybrid": ("Hit", "HybridSearcher", "SearchResult"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AddReport",
    "Connection",
    "ConnectionFailedError",
    "CrosslensError",
    "Encoder",
    "ExportError",
    "Hit",
    "HybridSearcher",
    "ImageError",
    "MappingError",
    "ModelError",
    "Node",
    "NodeError",
    "Options",
    "QueryError",
    "SearchResult",
    "Target",
    "add_vectors",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'crosslens' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
