"""Methods that write to an index."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crosslens.index.opened import Model, OpenedIndex, nothing
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.fields import read_mappings, recorded_fields
from crosslens.ingest.contract.ingest_pipeline import put_pipeline, remove_pipeline
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.contract.targets import Target
from crosslens.ingest.run.copying import copy_index
from crosslens.ingest.run.migrate import Migration, drop_old, migrate, rollback
from crosslens.ingest.run.reading import Share
from crosslens.ingest.run.remove import Removal, remove_field
from crosslens.ingest.run.report import CopyReport, Failure, Report
from crosslens.ingest.run.write import add_vectors, reindex


class WritableIndex(OpenedIndex):
    """An index whose documents get vectors, lose them, or get those of another model."""

    def add(
        self,
        *fields: Target,
        retry_failed: bool = False,
        dry_run: bool = False,
        progress: Callable[[Report], None] = nothing,
        on_failure: Callable[[Failure], None] = nothing,
    ) -> Report:
        """Add the vectors that documents lack for ``fields``: `TextField`, `ImageField`, `AudioField`, `VideoField`.

        See `crosslens.add_vectors`. ``retry_failed`` takes up documents again that failed before; ``dry_run`` counts
        and estimates. ``progress`` gets the growing report after every batch, ``on_failure`` each failure.
        """
        options = self._options(Selection(failed=retry_failed), dry_run)
        return add_vectors(
            self._client, self.name, self._new(), list(fields), options, progress=progress, failed=on_failure
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
        progress: Callable[[Report], None] = nothing,
        on_failure: Callable[[Failure], None] = nothing,
    ) -> Report:
        """Bring the vectors that the index has up to date: those that are ``missing`` (the default), ``stale``, because
        their text, file or model changed, ``failed`` before, or ``every`` one. Selections add up.

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
        return reindex(
            self._client,
            self.name,
            self._new() if targets else self._encoders(),
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
        progress: Callable[[Report], None] = nothing,
        on_failure: Callable[[Failure], None] = nothing,
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
            self._encoders(),
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
        progress: Callable[[Report], None] = nothing,
        on_failure: Callable[[Failure], None] = nothing,
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
            # The other model, where it is still that of any field.
            serving = recorded_fields(self.name, read_mappings(self._client, self.name)).values()
            kept = [each for each in self._made if Encoders([each]).serve(serving) and each is not encoder]
            self._models, self._made = [], [encoder, *kept]
            self._searchers.clear()
        return report

    def rollback(self, *, fields: Sequence[str] | None = None) -> dict[str, VectorField]:
        """Go back to the previous model's vectors, or give up a change under way. See `crosslens.rollback`."""
        serving = rollback(self._client, self.name, fields=fields)
        self._models, self._made = [], []
        self._searchers.clear()
        return serving

    def drop_old(
        self,
        *,
        fields: Sequence[str] | None = None,
        dry_run: bool = False,
        progress: Callable[[Removal], None] = nothing,
        **waiting: Any,
    ) -> list[Removal]:
        """Remove the vectors of models that no longer serve. See `crosslens.drop_old`."""
        return drop_old(self._client, self.name, fields=fields, dry_run=dry_run, progress=progress, **waiting)

    def remove(self, field: str, *, dry_run: bool = False, progress: Callable[[Removal], None] = nothing) -> Removal:
        """Remove a vector field from every document. See `crosslens.remove_field`."""
        report = remove_field(self._client, self.name, field, dry_run=dry_run, progress=progress)
        self._searchers.clear()
        return report

    def pipeline(
        self,
        name: str | None = None,
        *,
        record_errors: bool = True,
        default: bool = False,
        remove: bool = False,
        dry_run: bool = False,
    ) -> tuple[str, dict[str, Any]]:
        """Put the ingest pipeline by which the server plugin encodes what is written. See `crosslens.put_pipeline`.

        ``remove`` deletes it instead, and puts back the default pipeline that the index had before.
        """
        if remove:
            return remove_pipeline(self._client, self.name, name, dry_run=dry_run)
        return put_pipeline(
            self._client, self.name, name, record_errors=record_errors, default=default, dry_run=dry_run
        )
