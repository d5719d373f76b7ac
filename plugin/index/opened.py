"""An index with its client, its model and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.model.cluster import ClusterEncoder
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import remember
from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.run import Options
from crosslens.ingest.sources.access import ImageAccess, ImageReader
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.options import IndexSearchOptions
from crosslens.queries.search.searcher import HybridSearcher

Model = str | Path | VectorEncoder
Progress = Callable[[int, int], None]


def nothing(*_: object) -> None:
    """Ignore all arguments."""


class OpenedIndex:
    """The shared base of all operations on an index: the client, the model, and access to images."""

    def __init__(
        self,
        name: str,
        *,
        client: Elasticsearch | None = None,
        url: str | None = None,
        api_key: str | None = None,
        user: str | None = None,
        password: str | None = None,
        ca_certs: Path | str | None = None,
        cloud_id: str | None = None,
        model: Model | None = None,
        text_model: Model | None = None,
        image_root: Path | str | None = None,
        images: ImageAccess | None = None,
        in_cluster: bool = False,
        batch_size: int | None = None,
        threads: int = 0,
        workers: int = 0,
        device: str = "auto",
    ):
        """``client`` is used as it is, instead of a new one to ``url`` (and then never closed).

        ``model`` is a model folder, or an encoder; left out, each vector field's own model is looked for: in the
        cluster's plugin, and among the folders used before on this machine. ``text_model`` is a text model beside it:
        new text fields are made by that one, new image fields by ``model``. With ``in_cluster`` the server plugin makes
        all vectors, and both are names that it knows. ``image_root`` is the folder that image paths start in and
        must not leave; ``images`` replaces it with full control of access to images. At most ``batch_size``
        inputs are encoded at a time, on ``threads`` threads (0: all cores) of ``device``, see `Encoder`; ``workers``
        threads fetch and open images (0: as many as suit).

        Raises `ConnectionFailedError` when no cluster answers.
        """
        self._images = ImageAccess.of(images, image_root)
        self.name = name
        self._own_client = client is None
        self._client = client or connect(Connection.from_environment(url, api_key, user, password, ca_certs, cloud_id))
        self._models, self._in_cluster = [each for each in (model, text_model) if each is not None], in_cluster
        self._batch_size, self._threads, self._workers = batch_size, threads, workers
        self._device = device
        self._made: list[VectorEncoder] = []
        self._searchers: dict[tuple[Any, ...], HybridSearcher] = {}

    @cached_property
    def _reader(self) -> ImageReader:
        """What results show their pictures with: one for all, since it keeps its connections and its cache."""
        return self._images.reader()

    @property
    def client(self) -> Elasticsearch:
        """Return the Elasticsearch client, for other requests."""
        return self._client

    def close(self) -> None:
        """Close the client, unless it was given."""
        if self._own_client:
            self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Index({self.name!r})"

    def searcher(
        self,
        *,
        vector_fields: Sequence[str] | None = None,
        text_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
    ) -> HybridSearcher:
        """Return the searcher behind `search`, which is kept and reused."""
        options = IndexSearchOptions(vector_fields=vector_fields, text_fields=text_fields, window=window)
        return self._searcher(options.of_searcher)

    def _searcher(self, made_with: dict[str, Any]) -> HybridSearcher:
        key = tuple(made_with.values())
        if key not in self._searchers:
            encoders = self._named() or self._known((), self._client)
            self._searchers[key] = HybridSearcher(self._client, self.name, encoders, **made_with)
        return self._searchers[key]

    def _options(self, selection: Selection, dry_run: bool, share: Share | None = None) -> Options:
        return Options(selection, self._images, self._workers, share or Share(), dry_run)

    def _new(self) -> Encoders:
        """Return the models for new vectors. Raises `ModelError` where none was named and the index has none."""
        if self._named() or not self._in_cluster:
            return self._encoders()
        self._made = [ClusterEncoder(self._client, None, batch_size=self._batch_size)]
        return self._encoders()

    def _encoders(self) -> Encoders:
        """Return the named models, and for others those of the cluster or of this machine."""
        return self._known(self._named(), self._client if self._in_cluster else None)

    def _known(self, given: Sequence[VectorEncoder], cluster: Elasticsearch | None) -> Encoders:
        return Encoders(given, batch_size=self._batch_size, threads=self._threads, device=self._device, cluster=cluster)

    def _named(self) -> list[VectorEncoder]:
        if not self._made:
            self._made = [self._open(each) for each in self._models]
        return self._made

    def _open(self, model: Model) -> VectorEncoder:
        if not isinstance(model, str | Path):
            return model
        if self._in_cluster:
            return ClusterEncoder(self._client, str(model), batch_size=self._batch_size)
        encoder = Encoder(Path(model), batch_size=self._batch_size, threads=self._threads, device=self._device)
        remember(encoder.folder.path, encoder.fingerprint)
        return encoder
