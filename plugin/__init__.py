"""CLIP cross-modal hybrid search for the Elasticsearch index you already have.

    from crosslens import Index, TextField, ImageField

    products = Index("products", url="http://localhost:9200", model="models/clip", image_root="/srv/pictures")
    products.add(TextField("title", "description"), ImageField("photo"))
    products.search("blue running shoes")

`Index` does everything that the command line does. The functions and classes below it are the layer underneath. Each
name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosslens.async_client import connect_async
    from crosslens.async_index import AsyncIndex
    from crosslens.client import Connection, connect
    from crosslens.errors import (
        BlockedError,
        ConnectionFailedError,
        CrosslensError,
        ExportError,
        ImageError,
        LabelError,
        MappingError,
        MediaError,
        MigrationError,
        MixedModelsError,
        ModelError,
        NodeError,
        NotCalibratedError,
        QueryError,
        ServingError,
        TextError,
    )
    from crosslens.index import Index, IndexStatus
    from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
    from crosslens.ingest.contract.examples import Example, read_examples
    from crosslens.ingest.contract.ingest_pipeline import put_pipeline
    from crosslens.ingest.contract.labels import Label, read_captions, read_labels
    from crosslens.ingest.contract.record import VectorField
    from crosslens.ingest.contract.selection import Selection
    from crosslens.ingest.contract.targets import AudioField, ImageField, Target, TextField, VideoField, parse_target
    from crosslens.ingest.model.cluster import ClusterEncoder
    from crosslens.ingest.model.encoder import Encoder
    from crosslens.ingest.model.exporting import ExportReport, export
    from crosslens.ingest.model.prompts import TextOptions
    from crosslens.ingest.model.senses import AudioSettings, Clip, VideoSettings
    from crosslens.ingest.model.sharing import SharedModel, SharedOn, drop_model, push_model
    from crosslens.ingest.run.calibrate import calibrate, try_null_queries
    from crosslens.ingest.run.copying import copy_index
    from crosslens.ingest.run.describe import Suggestion
    from crosslens.ingest.run.judging import Verdict
    from crosslens.ingest.run.label_report import LabelReport
    from crosslens.ingest.run.migrate import Migration, drop_old, migrate, rollback
    from crosslens.ingest.run.remove import Removal, remove_field
    from crosslens.ingest.run.report import CopyReport, Failure, Report
    from crosslens.ingest.run.run import Options
    from crosslens.ingest.run.status import Status, survey
    from crosslens.ingest.run.write import add_vectors, reindex
    from crosslens.ingest.sources.access import ImageAccess
    from crosslens.ingest.sources.decoding.shapes import Cutting, MediaLimits
    from crosslens.node import Node
    from crosslens.queries.evaluate.evaluation import Evaluation, evaluate, read_judged, tune
    from crosslens.queries.evaluate.judgements import Judged
    from crosslens.queries.evaluate.recall import RecallRow, measure_recall
    from crosslens.queries.evaluate.tune import Tuned
    from crosslens.queries.search.async_searcher import AsyncHybridSearcher
    from crosslens.queries.search.options import IndexDraftOptions, IndexSearchOptions, SearchOptions
    from crosslens.queries.search.searcher import HybridSearcher
    from crosslens.queries.show.moments import MatchedMoment
    from crosslens.queries.show.result import Hit, SearchResult

_HOMES = {
    "crosslens.async_client": ("connect_async",),
    "crosslens.async_index": ("AsyncIndex",),
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
        "LabelError",
        "MappingError",
        "MediaError",
        "MigrationError",
        "MixedModelsError",
        "ModelError",
        "NodeError",
        "NotCalibratedError",
        "QueryError",
        "ServingError",
        "TextError",
    ),
    "crosslens.index": (
        "Index",
        "IndexStatus",
    ),
    "crosslens.ingest.contract.encoders": (
        "Encoders",
        "VectorEncoder",
    ),
    "crosslens.ingest.contract.examples": ("Example", "read_examples"),
    "crosslens.ingest.contract.ingest_pipeline": ("put_pipeline",),
    "crosslens.ingest.contract.labels": (
        "Label",
        "read_captions",
        "read_labels",
    ),
    "crosslens.ingest.contract.record": ("VectorField",),
    "crosslens.ingest.contract.selection": ("Selection",),
    "crosslens.ingest.contract.targets": (
        "AudioField",
        "ImageField",
        "Target",
        "TextField",
        "VideoField",
        "parse_target",
    ),
    "crosslens.ingest.model.cluster": ("ClusterEncoder",),
    "crosslens.ingest.model.encoder": ("Encoder",),
    "crosslens.ingest.model.senses": ("AudioSettings", "Clip", "VideoSettings"),
    "crosslens.ingest.model.exporting": (
        "ExportReport",
        "export",
    ),
    "crosslens.ingest.model.prompts": ("TextOptions",),
    "crosslens.ingest.model.sharing": (
        "SharedModel",
        "SharedOn",
        "drop_model",
        "push_model",
    ),
    "crosslens.ingest.run.calibrate": (
        "calibrate",
        "try_null_queries",
    ),
    "crosslens.ingest.run.copying": ("copy_index",),
    "crosslens.ingest.run.describe": ("Suggestion",),
    "crosslens.ingest.run.judging": ("Verdict",),
    "crosslens.ingest.run.label_report": ("LabelReport",),
    "crosslens.ingest.run.migrate": (
        "Migration",
        "drop_old",
        "migrate",
        "rollback",
    ),
    "crosslens.ingest.run.remove": (
        "Removal",
        "remove_field",
    ),
    "crosslens.ingest.run.report": ("CopyReport", "Failure", "Report"),
    "crosslens.ingest.run.run": ("Options",),
    "crosslens.ingest.run.status": (
        "Status",
        "survey",
    ),
    "crosslens.ingest.run.write": ("add_vectors", "reindex"),
    "crosslens.ingest.sources.access": ("ImageAccess",),
    "crosslens.ingest.sources.decoding.shapes": ("Cutting", "MediaLimits"),
    "crosslens.node": ("Node",),
    "crosslens.queries.evaluate.evaluation": (
        "Evaluation",
        "evaluate",
        "read_judged",
        "tune",
    ),
    "crosslens.queries.evaluate.judgements": ("Judged",),
    "crosslens.queries.evaluate.recall": (
        "RecallRow",
        "measure_recall",
    ),
    "crosslens.queries.evaluate.tune": ("Tuned",),
    "crosslens.queries.search.async_searcher": ("AsyncHybridSearcher",),
    "crosslens.queries.search.options": ("IndexDraftOptions", "IndexSearchOptions", "SearchOptions"),
    "crosslens.queries.search.searcher": ("HybridSearcher",),
    "crosslens.queries.show.moments": ("MatchedMoment",),
    "crosslens.queries.show.result": (
        "Hit",
        "SearchResult",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncHybridSearcher",
    "AsyncIndex",
    "AudioField",
    "AudioSettings",
    "BlockedError",
    "Clip",
    "ClusterEncoder",
    "Connection",
    "ConnectionFailedError",
    "CopyReport",
    "CrosslensError",
    "Cutting",
    "Encoder",
    "Encoders",
    "Evaluation",
    "Example",
    "ExportError",
    "ExportReport",
    "Failure",
    "Hit",
    "HybridSearcher",
    "ImageAccess",
    "ImageError",
    "ImageField",
    "Index",
    "IndexDraftOptions",
    "IndexSearchOptions",
    "IndexStatus",
    "Judged",
    "Label",
    "LabelError",
    "LabelReport",
    "MappingError",
    "MatchedMoment",
    "MediaError",
    "MediaLimits",
    "Migration",
    "MigrationError",
    "MixedModelsError",
    "ModelError",
    "Node",
    "NodeError",
    "NotCalibratedError",
    "Options",
    "QueryError",
    "RecallRow",
    "Removal",
    "Report",
    "SearchOptions",
    "SearchResult",
    "Selection",
    "ServingError",
    "SharedModel",
    "SharedOn",
    "Status",
    "Suggestion",
    "Target",
    "TextError",
    "TextField",
    "TextOptions",
    "Tuned",
    "VectorEncoder",
    "VectorField",
    "Verdict",
    "VideoField",
    "VideoSettings",
    "add_vectors",
    "calibrate",
    "connect",
    "connect_async",
    "copy_index",
    "drop_model",
    "drop_old",
    "evaluate",
    "export",
    "measure_recall",
    "migrate",
    "parse_target",
    "push_model",
    "put_pipeline",
    "read_captions",
    "read_examples",
    "read_judged",
    "read_labels",
    "reindex",
    "remove_field",
    "rollback",
    "survey",
    "try_null_queries",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'crosslens' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
