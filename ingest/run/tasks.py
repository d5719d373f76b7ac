"""What is to be done to a document: for which of its fields a vector is missing, stale, or to be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from crosslens.ingest.contract import documents
from crosslens.ingest.contract.record import STATE, VectorField
from crosslens.ingest.contract.selection import Selection
from crosslens.ingest.run.reading import Document


@dataclass(frozen=True)
class Task:
    """A field that a document is to be encoded for; with ``check``, only if its image's content has changed."""

    field: VectorField
    check: bool = False


def wanted_paths(fields: Sequence[VectorField]) -> list[str]:
    """What of a document's source a run reads: sources, state, the objects that vectors lie in, and passages."""
    parents = {each.path.split(".")[0] for each in fields if "." in each.path or each.passages}
    return sorted({source for each in fields for source in each.sources} | parents | {STATE})


def selected(document: Document, fields: Sequence[VectorField], selection: Selection) -> list[Task]:
    """The fields of a document that ``selection`` names."""
    tasks = []
    for each in fields:
        stands = documents.standing(document.source, each)
        if (
            # Recorded as skipped, an empty one isn't found again where a query can't see that it has no source.
            (stands in ("missing", "empty") and (selection.missing or selection.every))
            or (stands == "stale" and (selection.stale or selection.every))
            or (selection.failed and _has_error(document, each))
            or selection.every
        ):
            tasks.append(Task(each))
        elif stands == "done" and selection.contents and each.refers:
            tasks.append(Task(each, check=True))
    return tasks


def behind(document: Document, fields: Sequence[VectorField]) -> list[Task]:
    """The fields of a document, written by others since the run began, whose vectors are of an older source."""
    return [Task(each) for each in fields if documents.standing(document.source, each) in ("missing", "stale")]


def still_wanted(document: Document, tasks: Sequence[Task], selection: Selection) -> list[Task]:
    """Those of ``tasks``, found some time ago, that a document as it is now still needs."""
    due = ("missing", "stale", "empty", "failed")
    stands = {task.field.path: documents.standing(document.source, task.field) for task in tasks}
    return [task for task in tasks if task.check or selection.every or stands[task.field.path] in due]


def with_tasks(
    pages: Iterable[list[Document]], tasks: Callable[[Document], list[Task]]
) -> Iterator[tuple[Document, list[Task]]]:
    """The documents of ``pages`` that have ``tasks``, with them."""
    for page in pages:
        for document in page:
            todo = tasks(document)
            if todo:
                yield document, todo


def _has_error(document: Document, each: VectorField) -> bool:
    return bool((documents.state_of(document.source, each.path) or {}).get("error"))
