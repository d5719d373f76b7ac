"""CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    from crosslens import Encoder
    from crosslens import HybridSearcher
    from crosslens import Target
    from crosslens import add_vectors
    from crosslens import connect

The names below are the public interface; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosslens.async_client import connect_async
    from crosslens.client import Connection, connect
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
    from crosslens.ingest.contract.encoders import Encoders
    from crosslens.ingest.contract.selection import Selection
    from crosslens.ingest.contract.targets import Target, parse_target
    from crosslens.ingest.model.encoder import Encoder
    from crosslens.ingest.run.calibrate import calibrate
    from crosslens.ingest.run.copying import copy_index
    from crosslens.ingest.run.migrate import Migration, drop_old, migrate, rollback
    from crosslens.ingest.run.remove import Removal, remove_field
    from crosslens.ingest.run.report import CopyReport, Failure, Report
    from crosslens.ingest.run.run import Options
    from crosslens.ingest.run.status import Status, survey
    from crosslens.ingest.run.write import add_vectors, reindex
    from crosslens.ingest.sources.access import ImageAccess
    from crosslens.node import Node
    from crosslens.queries.search.searcher import AsyncHybridSearcher, Hit, HybridSearcher, SearchResult

_HOMES = {
    "crosslens.async_client": ("connect_async",),
    "crosslens.client": (
        "Connection",
        "connect",
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
    "crosslens.ingest.contract.targets": (
        "Target",
        "parse_target",
    ),
    "crosslens.ingest.run.copying": ("copy_index",),
    "crosslens.ingest.model.cluster": ("ClusterEncoder",),
    "crosslens.ingest.model.encoder": ("Encoder",),
    "crosslens.ingest.contract.encoders": ("Encoders",),
    "crosslens.ingest.run.migrate": (
        "Migration",
        "drop_old",
        "migrate",
        "rollback",
    ),
    "crosslens.ingest.run.calibrate": ("calibrate",),
    "crosslens.ingest.run.remove": (
        "Removal",
        "remove_field",
    ),
    "crosslens.ingest.run.report": (
        "CopyReport",
        "Failure",
        "Report",
    ),
    "crosslens.ingest.contract.selection": ("Selection",),
    "crosslens.ingest.sources.access": ("ImageAccess",),
    "crosslens.ingest.run.status": (
        "Status",
        "survey",
    ),
    "crosslens.ingest.run.run": ("Options",),
    "crosslens.ingest.run.write": (
        "add_vectors",
        "reindex",
    ),
    "crosslens.node": ("Node",),
    "crosslens.queries.search.searcher": (
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
