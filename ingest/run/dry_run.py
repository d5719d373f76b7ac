"""A dry run: how documents stand, what a run would do, and about what it would take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crosslens.ingest.contract import documents
from crosslens.ingest.run.estimate import estimate
from crosslens.ingest.run.media_estimate import estimate_moments
from crosslens.ingest.run.prefetch import prefetched
from crosslens.ingest.run.reading import Document, Reader
from crosslens.ingest.run.report import Failure, Report
from crosslens.ingest.run.run import Run
from crosslens.ingest.run.tasks import Task, selected, with_tasks
from crosslens.ingest.run.wanted import Wanted, apart


def look(run: Run, reader: Reader, query: dict[str, Any], report: Report) -> None:
    """Counts how all documents stand and what a run over those of ``query`` would do, and estimates what it takes.

    Images are read only where nothing but their content shows what there is to do, and sounds and footage not even
    then.
    """
    selection = run.options.selection
    pipeline = run.pipeline()
    fields = [each for each in run.fields if not each.moments]
    footage: list[Wanted] = []

    def tasks(document: Document) -> list[Task]:
        return selected(document, run.fields, selection)

    for page in prefetched(reader.pages(selection.narrow({"match_all": {}}))):
        for document in page:
            for each in run.fields:
                stands = documents.standing(document.source, each)
                report.count(report.stands.setdefault(each.field, {}), stands)
                if each.modality == "text" and not each.passages and stands in ("missing", "stale"):
                    report.count_cut(each.field, pipeline.lost(documents.inputs(document.source, each), each))
    to_do = report.todo
    whole = selection.stale or selection.contents or selection.every
    if whole:
        to_do = 0
        looked_at = apart(with_tasks(prefetched(reader.pages(query)), tasks), footage)
        for chunk in pipeline.run(looked_at, encode=False):
            for prepared in chunk:
                for name in prepared.unchanged:
                    report.count(report.unchanged, name)
                for name, reason in prepared.failed:
                    run.fail(report, Failure(prepared.document.index, prepared.document.id, name, reason))
                for each in fields:
                    if each.path in prepared.states:
                        report.count(report.written, each.field)
            to_do += sum(1 for prepared in chunk if prepared.states)
            run.report_on(report, len(chunk))
        due = _due(footage)
        to_do += sum(each.alone for each in due)
        for task in (task for each in due for task in each.tasks if not task.check):
            report.count(report.written, task.field.field)
    sample = apart(with_tasks(prefetched(reader.pages(query)), tasks), [])
    report.estimate = estimate(pipeline, sample, fields, to_do)
    if fields != list(run.fields):
        # Only reading them all, as may have been done above, shows how many documents have sound or footage to encode.
        if not whole:
            for _ in apart(with_tasks(prefetched(reader.pages(query)), tasks), footage):
                pass
        report.estimate = estimate_moments(run, _due(footage), report.estimate)


def _due(footage: Sequence[Wanted]) -> list[Wanted]:
    """The documents of ``footage`` that aren't only looked at for changes of their files."""
    return [each for each in footage if not all(task.check for task in each.tasks)]
