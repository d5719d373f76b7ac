"""Methods that measure how good an index's searches are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crosslens.index.opened import OpenedIndex, Progress, nothing
from crosslens.ingest.contract.fields import record_search_settings
from crosslens.ingest.run.calibrate import DEFAULT_SAMPLE, calibrate, try_null_queries
from crosslens.queries.evaluate.evaluation import Evaluation, evaluate, read_judged, tune
from crosslens.queries.evaluate.judgements import Judged
from crosslens.queries.evaluate.recall import DEFAULT_OVERSAMPLES, RecallRow, measure_recall
from crosslens.queries.evaluate.tune import Tuned
from crosslens.queries.fusion.normalizers import Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW


class MeasurableIndex(OpenedIndex):
    """An index whose searches are measured, and tuned."""

    def calibrate(
        self,
        *,
        fields: Sequence[str] | None = None,
        sample: int = DEFAULT_SAMPLE,
        null_queries: Sequence[str] = (),
        progress: Progress = nothing,
    ) -> dict[str, int]:
        """Collect corpus statistics for searches by "standardise"; return the vectors read by field. See
        `crosslens.calibrate`.

        ``null_queries`` are texts without an answer in the index: they set the floor below which results are noise.
        """
        counts = calibrate(self._client, self.name, fields=fields, sample=sample, progress=progress)
        if null_queries:
            try_null_queries(self._client, self.name, null_queries, self._encoders(), fields=fields)
        return counts

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
        progress: Progress = nothing,
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
        progress: Progress = nothing,
    ) -> Tuned:
        """Choose weights and a normalizer by at least 20 judged queries, and record them in the index.

        Searches use them within half a minute; `forget` undoes this. With ``dry_run`` nothing is recorded. See
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
        """Delete the choice that `tune` recorded, so that searches use the defaults again."""
        record_search_settings(self._client, self.name, None)

    def recall(
        self,
        *,
        fields: Sequence[str] | None = None,
        queries: int = 100,
        k: int = 10,
        oversamples: Sequence[float | None] = DEFAULT_OVERSAMPLES,
        index_types: Sequence[str] = (),
        sample: int | None = None,
        progress: Progress = nothing,
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
            sample=sample,
            progress=progress,
        )


def _judged(judged: Sequence[Judged] | Path | str, topics: Path | str | None, clicks: bool) -> Sequence[Judged]:
    if not isinstance(judged, str | Path):
        return judged
    return read_judged(Path(judged), topics=Path(topics) if topics else None, clicks=clicks)[0]
