"""CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    from crosslens import Encoder, HybridSearcher, Target, add_vectors, connect

The names below are the public interface; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosslens.client import Connection, connect, connect_async
    from crosslens.errors import (
        BlockedError,
        ConnectionFailedError,
        CrosslensError,
        ExportError,
        ImageError,
        MappingError,
        MigrationError,
        MixedModelsError,
        ModelError,
        NodeError,
        QueryError,
    )
    from crosslens.ingest.contract import Target, parse_target
    from crosslens.ingest.copying import CopyReport, copy_index
    from crosslens.ingest.encoder import Encoder
    from crosslens.ingest.encoders import Encoders
    from crosslens.ingest.migrate import Migration, drop_old, migrate, rollback
    from crosslens.ingest.moments import calibrate
    from crosslens.ingest.remove import Removal, remove_field
    from crosslens.ingest.report import Failure, Report
    from crosslens.ingest.selection import Selection
    from crosslens.ingest.sources import ImageAccess
    from crosslens.ingest.status import Status, survey
    from crosslens.ingest.write import Options, add_vectors, reindex
    from crosslens.node import Node
    from crosslens.queries.hybrid import AsyncHybridSearcher, Hit, HybridSearcher, SearchResult

_HOMES = {
    "crosslens.client": (
        "Connection",
        "connect",
        "connect_async",
    ),
    "crosslens.errors": (
        "BlockedError",
        "ConnectionFailedError",
        "CrosslensError",
        "ExportError",
        "ImageError",
        "MappingError",
        "MigrationError",
        "MixedModelsError",
        "ModelError",
        "NodeError",
        "QueryError",
    ),
    "crosslens.ingest.contract": (
        "Target",
        "parse_target",
    ),
    "crosslens.ingest.copying": (
        "CopyReport",
        "copy_index",
    ),
    "crosslens.ingest.cluster": ("ClusterEncoder",),
    "crosslens.ingest.encoder": ("Encoder",),
    "crosslens.ingest.encoders": ("Encoders",),
    "crosslens.ingest.migrate": (
        "Migration",
        "drop_old",
        "migrate",
        "rollback",
    ),
    "crosslens.ingest.moments": ("calibrate",),
    "crosslens.ingest.remove": (
        "Removal",
        "remove_field",
    ),
    "crosslens.ingest.report": (
        "Failure",
        "Report",
    ),
    "crosslens.ingest.selection": ("Selection",),
    "crosslens.ingest.sources": ("ImageAccess",),
    "crosslens.ingest.status": (
        "Status",
        "survey",
    ),
    "crosslens.ingest.write": (
        "Options",
        "add_vectors",
        "reindex",
    ),
    "crosslens.node": ("Node",),
    "crosslens.queries.hybrid": (
        "AsyncHybridSearcher",
        "Hit",
        "HybridSearcher",
        "SearchResult",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncHybridSearcher",
    "BlockedError",
    "ClusterEncoder",
    "Connection",
    "ConnectionFailedError",
    "CopyReport",
    "CrosslensError",
    "Encoder",
    "Encoders",
    "ExportError",
    "Failure",
    "Hit",
    "HybridSearcher",
    "ImageAccess",
    "ImageError",
    "MappingError",
    "Migration",
    "MigrationError",
    "MixedModelsError",
    "ModelError",
    "Node",
    "NodeError",
    "Options",
    "QueryError",
    "Removal",
    "Report",
    "SearchResult",
    "Selection",
    "Status",
    "Target",
    "add_vectors",
    "calibrate",
    "connect",
    "connect_async",
    "copy_index",
    "drop_old",
    "migrate",
    "parse_target",
    "reindex",
    "remove_field",
    "rollback",
    "survey",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'crosslens' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
