"""One object for an index: everything that the command line does, as methods of the same names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elasticsearch import Elasticsearch

from crosslens.client import Connection, connect
from crosslens.errors import ModelError, QueryError
from crosslens.ingest.contract.encoders import Encoders, VectorEncoder
from crosslens.ingest.contract.fields import record_search_settings
from crosslens.ingest.contract.ingest_pipeline import put_pipeline
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.model.cluster import ClusterEncoder
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import remember
from crosslens.ingest.run.calibrate import DEFAULT_SAMPLE, calibrate, try_null_queries
from crosslens.ingest.run.copying import copy_index
from crosslens.ingest.run.migrate import Migration, drop_old, migrate, rollback
from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.remove import Removal, remove_field
from crosslens.ingest.run.report import CopyReport, Failure, Report
from crosslens.ingest.run.run import Options
from crosslens.ingest.run.status import Status, survey
from crosslens.ingest.run.write import add_vectors, reindex
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.evaluate.evaluation import Evaluation, evaluate, read_judged, tune
from crosslens.queries.evaluate.judgements import Judged
from crosslens.queries.evaluate.recall import DEFAULT_OVERSAMPLES, RecallRow, measure_recall
from crosslens.queries.evaluate.tune import Tuned
from crosslens.queries.evaluate.usefulness import Warned, looks_useless
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW
from crosslens.queries.search.keywords import takes
from crosslens.queries.search.options import IndexSearchOptions
from crosslens.queries.search.searcher import HybridSearcher
from crosslens.queries.show.pictures import Pictures
from crosslens.queries.show.result import SearchResult

Model = str | Path | VectorEncoder
Progress = Callable[[int, int], None]


def _nothing(*_: object) -> None:
    return None


@dataclass
class IndexStatus(Status):
    """How an index stands, with ``warnings`` of vector fields that look useless for searching."""

    warnings: list[Warned] = field(default_factory=list)


class Index:
    """An Elasticsearch index (or alias, pattern, data stream) whose documents have, or are to get, vectors.

        products = Index("products", url="http://localhost:9200", model="models/clip", image_root="/srv/pictures")
        products.add(TextField("title", "description"), ImageField("photo"))
        products.search("blue running shoes")

    The methods are the command line's verbs. What is left out of the address and the credentials comes from the
    environment (`crosslens.client.VARIABLES`), as on the command line. May be used in ``with``, and from several
    threads for searching.
    """

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
        image_root: Path | str | None = None,
        images: ImageAccess | None = None,
        in_cluster: bool = False,
        batch_size: int = 32,
        threads: int = 0,
        workers: int = 0,
    ):
        """``client`` is used as it is, instead of a new one to ``url`` (and then never closed).

        ``model`` is a model folder, or an encoder; left out, each vector field's own model is looked for: in the
        cluster's plugin, and among the folders used before on this machine. With ``in_cluster`` the server plugin makes
        all vectors, and ``model`` is a name that it knows. ``image_root`` is the folder that image paths start in and
        must not leave; ``images`` says everything about access to images, instead of it. ``batch_size`` inputs are
        encoded at a time, on ``threads`` threads (0: all cores); ``workers`` threads fetch and open images (0: as many
        as suit).

        Raises `ConnectionFailedError` when no cluster answers.
        """
        if images is not None and image_root is not None:
            raise QueryError("give image_root or images, which has a root of its own, not both")
        self.name = name
        self._own_client = client is None
        self._client = client or connect(Connection.from_environment(url, api_key, user, password, ca_certs, cloud_id))
        self._model, self._in_cluster = model, in_cluster
        self._images = images or ImageAccess(root=image_root)
        self._batch_size, self._threads, self._workers = batch_size, threads, workers
        self._made: VectorEncoder | None = None
        self._searchers: dict[tuple[Any, ...], HybridSearcher] = {}

    @property
    def client(self) -> Elasticsearch:
        """The Elasticsearch client, for everything else."""
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

    # Writing

    def add(
        self,
        *fields: Target,
        retry_failed: bool = False,
        dry_run: bool = False,
        progress: Callable[[Report], None] = _nothing,
        on_failure: Callable[[Failure], None] = _nothing,
    ) -> Report:
        """Add the vectors that documents lack for ``fields``, each a `TextField` or an `ImageField`.

        See `crosslens.add_vectors`. ``retry_failed`` takes up documents again that failed before; ``dry_run`` counts
        and estimates. ``progress`` gets the growing report after every batch, ``on_failure`` each failure.
        """
        options = self._options(Selection(failed=retry_failed), dry_run)
        return add_vectors(
            self._client, self.name, self._encoder(), list(fields), options, progress=progress, failed=on_failure
        )

    def reindex(
        self,
        *targets: Target,
        missing: bool = False,
        stale: bool = False,
        failed: bool = False,
        every: bool = False,
        query: Mapping[str, Any] | None = None,
        fields: Sequence[str] | None = None,
        share: tuple[int, int] = (1, 1),
        dry_run: bool = False,
        progress: Callable[[Report], None] = _nothing,
        on_failure: Callable[[Failure], None] = _nothing,
    ) -> Report:
        """Bring the vectors that the index has up to date: those that are ``missing`` (the default), ``stale``, because
        their text, image or model changed, ``failed`` before, or ``every`` one. Selections add up.

        ``query`` narrows the selection; ``fields`` names vector fields (None: all); ``targets`` are further fields to
        make. ``share`` (i, n) does the i-th of n parts. See `crosslens.reindex`.
        """
        selection = Selection(
            missing=missing or not (stale or failed or every),
            stale=stale,
            contents=stale,
            failed=failed,
            every=every,
            query=None if query is None else dict(query),
        )
        if targets:
            self._encoder()
        return reindex(
            self._client,
            self.name,
            self._encoders(),
            self._options(selection, dry_run, Share(*share)),
            targets=list(targets),
            fields=fields,
            progress=progress,
            failed=on_failure,
        )

    def copy(
        self,
        into: str,
        *targets: Target,
        alias: str | None = None,
        block: bool = True,
        contents: bool = False,
        failed: bool = False,
        every: bool = False,
        dry_run: bool = False,
        progress: Callable[[Report], None] = _nothing,
        on_failure: Callable[[Failure], None] = _nothing,
    ) -> CopyReport:
        """Copy the index into the new index ``into`` with the vectors that documents lack, and switch ``alias`` to it.

        ``contents`` also makes vectors anew whose images changed under the same name, ``failed`` those that failed
        before, ``every`` all of them. See `crosslens.copy_index`.
        """
        selection = Selection(stale=True, contents=contents, failed=failed, every=every)
        return copy_index(
            self._client,
            self.name,
            into,
            self._named() or self._encoders(),
            list(targets),
            self._options(selection, dry_run),
            alias=alias,
            block=block,
            progress=progress,
            failed=on_failure,
        )

    def migrate(
        self,
        model: Model,
        *,
        fields: Sequence[str] | None = None,
        index_type: str | None = None,
        despite_failures: bool = False,
        dry_run: bool = False,
        progress: Callable[[Report], None] = _nothing,
        on_failure: Callable[[Failure], None] = _nothing,
    ) -> Migration:
        """Change the model of the index's vectors while searches go on. See `crosslens.migrate`.

        When all documents have switched, this object searches and encodes with the new model.
        """
        encoder = self._open(model)
        report = migrate(
            self._client,
            self.name,
            encoder,
            self._options(Selection(), dry_run),
            fields=fields,
            index_type=index_type,
            despite_failures=despite_failures,
            progress=progress,
            failed=on_failure,
        )
        if report.switched or not report.fields:
            self._model, self._made = model, encoder
            self._searchers.clear()
        return report

    def rollback(self, *, fields: Sequence[str] | None = None) -> dict[str, VectorField]:
        """Go back to the previous model's vectors, or give up a change under way. See `crosslens.rollback`."""
        serving = rollback(self._client, self.name, fields=fields)
        self._model = self._made = None
        self._searchers.clear()
        return serving

    def drop_old(
        self,
        *,
        fields: Sequence[str] | None = None,
        dry_run: bool = False,
        progress: Callable[[Removal], None] = _nothing,
        **waiting: Any,
    ) -> list[Removal]:
        """Remove the vectors of models that no longer serve. See `crosslens.drop_old`."""
        return drop_old(self._client, self.name, fields=fields, dry_run=dry_run, progress=progress, **waiting)

    def remove(self, field: str, *, dry_run: bool = False, progress: Callable[[Removal], None] = _nothing) -> Removal:
        """Remove a vector field from every document. See `crosslens.remove_field`."""
        report = remove_field(self._client, self.name, field, dry_run=dry_run, progress=progress)
        self._searchers.clear()
        return report

    def pipeline(
        self, name: str | None = None, *, record_errors: bool = True, default: bool = False, dry_run: bool = False
    ) -> tuple[str, dict[str, Any]]:
        """Put the ingest pipeline by which the server plugin encodes what is written. See `crosslens.put_pipeline`."""
        return put_pipeline(
            self._client, self.name, name, record_errors=record_errors, default=default, dry_run=dry_run
        )

    # Looking

    def status(self, *, quick: bool = False, progress: Progress = _nothing) -> IndexStatus:
        """Count how documents stand by vector field, with warnings of fields that look useless. See
        `crosslens.survey`; ``quick`` counts by queries alone."""
        found = survey(
            self._client, self.name, quick=quick, progress=lambda status: progress(status.scanned, status.documents)
        )
        warnings = [] if quick else looks_useless(self._client, self.name)
        return IndexStatus(**vars(found), warnings=warnings)

    @takes(IndexSearchOptions)
    def search(self, options: IndexSearchOptions) -> SearchResult:
        """Search by text, by image, by both, or by documents.

        The arguments are those of `IndexSearchOptions`, which describes each: ``text`` by position or name, all others
        by name. In a notebook the result shows itself, with pictures. Raises as `HybridSearcher.search` does.
        """
        searcher = self._searcher(options.of_searcher)
        result = searcher.search(**options.of_search)
        return replace(result, pictures=Pictures(list(searcher.fields.values()), self._images.reader()))

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
            self._searchers[key] = HybridSearcher(self._client, self.name, self._named(), **made_with)
        return self._searchers[key]

    def calibrate(
        self,
        *,
        fields: Sequence[str] | None = None,
        sample: int = DEFAULT_SAMPLE,
        null_queries: Sequence[str] = (),
        progress: Progress = _nothing,
    ) -> dict[str, int]:
        """Gather corpus statistics for searches by "standardise"; returns the vectors read by field. See
        `crosslens.calibrate`.

        ``null_queries`` are texts that nothing in the index answers: they set the floor under which results are noise.
        """
        counts = calibrate(self._client, self.name, fields=fields, sample=sample, progress=progress)
        if null_queries:
            try_null_queries(self._client, self.name, null_queries, self._encoders(), fields=fields)
        return counts

    # Measuring

    def evaluate(
        self,
        judged: Sequence[Judged] | Path | str,
        *,
        topics: Path | str | None = None,
        clicks: bool = False,
        weights: Mapping[str, float] | None = None,
        normalizer: Normalizer | None = None,
        vector_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        progress: Progress = _nothing,
    ) -> Evaluation:
        """Measure searches on judged queries: a list, or a file as `crosslens.read_judged` reads it. See
        `crosslens.evaluate`."""
        return evaluate(
            self.searcher(vector_fields=vector_fields, window=window),
            _judged(judged, topics, clicks),
            weights=weights,
            normalizer=normalizer,
            progress=progress,
        )

    def tune(
        self,
        judged: Sequence[Judged] | Path | str,
        *,
        topics: Path | str | None = None,
        clicks: bool = False,
        vector_fields: Sequence[str] | None = None,
        window: int = DEFAULT_WINDOW,
        dry_run: bool = False,
        progress: Progress = _nothing,
    ) -> Tuned:
        """Choose weights and a normalizer by judged queries, 20 at least, and record them in the index.

        Searches use them within half a minute; `forget` goes back. With ``dry_run`` nothing is recorded. See
        `crosslens.tune`.
        """
        searcher = self.searcher(vector_fields=vector_fields, window=window)
        tuned, _ = tune(searcher, _judged(judged, topics, clicks), searching=progress, choosing=progress)
        if not dry_run:
            self.use(tuned)
        return tuned

    def use(self, tuned: Tuned) -> None:
        """Record a choice that `tune` made, so that searches use it."""
        record_search_settings(self._client, self.name, tuned.settings)

    def forget(self) -> None:
        """Forget what `tune` recorded: searches are the default's again."""
        record_search_settings(self._client, self.name, None)

    def recall(
        self,
        *,
        fields: Sequence[str] | None = None,
        queries: int = 100,
        k: int = 10,
        oversamples: Sequence[float | None] = DEFAULT_OVERSAMPLES,
        index_types: Sequence[str] = (),
        progress: Progress = _nothing,
    ) -> list[RecallRow]:
        """Compare the index's approximate search with an exact one, on its own vectors. See
        `crosslens.measure_recall`."""
        return measure_recall(
            self._client,
            self.name,
            fields=fields,
            queries=queries,
            k=k,
            oversamples=oversamples,
            index_types=index_types,
            progress=progress,
        )

    def _options(self, selection: Selection, dry_run: bool, share: Share | None = None) -> Options:
        return Options(selection, self._images, self._workers, share or Share(), dry_run)

    def _encoder(self) -> VectorEncoder:
        """The model that new vectors are made by. Raises `ModelError` where none was named, and the index has none."""
        named = self._named()
        if named is not None:
            return named
        if self._in_cluster:
            self._made = ClusterEncoder(self._client, None, batch_size=self._batch_size)
            return self._made
        raise ModelError("no model is named to make new vectors with", hint="name its folder", parameter="model")

    def _encoders(self) -> Encoders:
        """The model that was named, and for others those of the cluster or of this machine."""
        named = self._named()
        return Encoders(
            [named] if named else [],
            batch_size=self._batch_size,
            threads=self._threads,
            cluster=self._client if self._in_cluster else None,
        )

    def _named(self) -> VectorEncoder | None:
        if self._made is None and self._model is not None:
            self._made = self._open(self._model)
        return self._made

    def _open(self, model: Model) -> VectorEncoder:
        if not isinstance(model, str | Path):
            return model
        if self._in_cluster:
            return ClusterEncoder(self._client, str(model), batch_size=self._batch_size)
        encoder = Encoder(Path(model), batch_size=self._batch_size, threads=self._threads)
        remember(encoder.folder.path, encoder.fingerprint)
        return encoder


def _judged(judged: Sequence[Judged] | Path | str, topics: Path | str | None, clicks: bool) -> Sequence[Judged]:
    if not isinstance(judged, str | Path):
        return judged
    return read_judged(Path(judged), topics=Path(topics) if topics else None, clicks=clicks)[0]
