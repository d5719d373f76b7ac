"""Documents whose sound or footage is to be encoded, set apart from what else there is to do to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.tasks import Task


@dataclass(frozen=True)
class Wanted:
    """A document with sound or footage to encode, without its source, and for which fields; ``alone`` if no others."""

    document: Document
    tasks: tuple[Task, ...]
    alone: bool


def apart(work: Iterable[tuple[Document, list[Task]]], footage: list[Wanted]) -> Iterator[tuple[Document, list[Task]]]:
    """The same documents without what is to be made of sound and footage, which is added to ``footage``."""
    for document, tasks in work:
        others = [task for task in tasks if not task.field.moments]
        moments = tuple(task for task in tasks if task.field.moments)
        if moments:
            footage.append(Wanted(replace(document, source={}), moments, alone=not others))
        if others:
            yield document, others
