"""What one run shares: where it reads and writes, for which fields, by which encoders, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elasticsearch import Elasticsearch

from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import Mappings, put_fields, read_mappings
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.settings import vector_packer
from crosslens.ingest.run.encoding import Pipeline
from crosslens.ingest.run.image_folders import image_access
from crosslens.ingest.run.reading import Reader, Share
from crosslens.ingest.run.report import Failure, Listener, Report
from crosslens.ingest.run.tasks import wanted_paths
from crosslens.ingest.sources.access import ImageAccess
from crosslens.retrying import patient

_FRESH_S = 3600.0


@dataclass(frozen=True)
class Options:
    """How a run goes: which documents (``selection``, ``share`` of several workers), from where images come
    (``images``), how many threads read them (``workers``, 0: as many as suit). ``dry_run`` looks and writes nothing."""

    selection: Selection = field(default_factory=Selection)
    images: ImageAccess = field(default_factory=ImageAccess)
    workers: int = 0
    share: Share = field(default_factory=Share)
    dry_run: bool = False


@dataclass(frozen=True)
class Events:
    """Who hears of a run: ``progress`` gets the growing report after every batch, ``failed`` each failure."""

    progress: Listener = lambda _: None
    failed: Callable[[Failure], None] = lambda _: None


@dataclass(frozen=True)
class Run:
    """A run on ``index``: begun by a public function, and handed on as a whole to whatever works for it.

    ``access`` says how the images of each image field are read, where not as the options say.
    """

    client: Elasticsearch
    index: str
    options: Options = field(default_factory=Options)
    events: Events = field(default_factory=Events)
    fields: tuple[VectorField, ...] = ()
    encoders: Encoders = field(default_factory=Encoders)
    access: Mapping[str, ImageAccess] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, client: Elasticsearch, index: str, options: Options | None = None, events: Events | None = None
    ) -> Run:
        """A run for a caller's client, whose every request is made patiently from here on (`crosslens.retrying`)."""
        return cls(patient(client), index, options or Options(), events or Events())

    def making(
        self, fields: Iterable[VectorField], encoders: Encoders, mappings: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Run:
        """The same run, for these fields, whose images come from where the ``mappings`` remember.

        Raises `MappingError` where the folder of images isn't there.
        """
        making = replace(self, fields=tuple(fields), encoders=encoders)
        return replace(making, access=image_access(making, mappings or {}))

    def mappings(self) -> Mappings:
        """The mappings behind the index's name. Raises `MappingError` as `read_mappings` does."""
        return read_mappings(self.client, self.index)

    def put_fields(self, indices: Iterable[str]) -> None:
        """Maps and records the run's fields in ``indices``, unless it is a dry run."""
        for name in () if self.options.dry_run else indices:
            put_fields(self.client, name, self.fields, self.image_roots)

    @property
    def image_roots(self) -> dict[str, str]:
        """The folder given for images, by image field, for the index to remember."""
        root = self.options.images.root
        return {} if root is None else {each.field: str(root) for each in self.fields if each.modality == "image"}

    def reader(self) -> Reader:
        """Reads of the run's share of documents what its fields need."""
        # Passages whose words are still the same keep their vectors.
        vectors = any(each.passages for each in self.fields)
        return Reader(self.client, self.index, wanted_paths(self.fields), self.options.share, vectors=vectors)

    def pipeline(self, *, only_new: bool = False) -> Pipeline:
        """Makes the vectors that are written to the index; ``only_new`` as in `Pipeline`."""
        selection = self.options.selection
        return Pipeline(
            self.fields,
            self.encoders,
            self.options.images.reader(),
            vector_packer(self.client, self.index),
            workers=self.options.workers,
            field_images={name: access.reader() for name, access in self.access.items()},
            # A downloaded image passes for what its URL still holds, but where changes are asked for.
            fresh_s=0.0 if selection.contents or selection.failed or selection.every else _FRESH_S,
            only_new=only_new,
        )

    def report_on(self, report: Report, documents: int) -> None:
        """Counts documents that were taken up, and says so."""
        report.documents += documents
        self.events.progress(report)

    def fail(self, report: Report, failure: Failure) -> None:
        """Counts a document that failed, and says so."""
        report.fail(failure)
        self.events.failed(failure)
