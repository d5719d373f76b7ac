"""Judged queries: queries with their relevant documents, from JSON Lines or TREC files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosslens.errors import QueryError


@dataclass(frozen=True)
class Judged:
    """A query by text, image (a path), or both, and the grades of its relevant documents by id (above 0)."""

    id: str
    text: str | None
    image: Path | None
    relevant: dict[str, float]


def read_jsonl(path: Path) -> list[Judged]:
    """Lines of ``{"id": ..., "text": ..., "image": ..., "relevant": {"DOC": GRADE} or ["DOC", ...]}``.

    An image's path starts at the file's folder; the id is optional. Raises `QueryError` naming an unreadable line.
    """
    judged = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            relevant = entry["relevant"]
            grades = relevant if isinstance(relevant, dict) else dict.fromkeys(relevant, 1.0)
            image = path.parent / entry["image"] if entry.get("image") else None
            text = entry.get("text") or None
            if text is None and image is None:
                raise ValueError("neither a text nor an image")
            graded = {str(doc): float(grade) for doc, grade in grades.items() if float(grade) > 0}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise QueryError(f"{path}:{number} is not a judged query ({type(error).__name__}: {error})") from error
        judged.append(Judged(str(entry.get("id", number)), text, image, graded))
    return _checked(judged, path)


def read_trec(qrels: Path, topics: Path) -> list[Judged]:
    """TREC qrels (``query 0 document grade``) and topics, a line each: the query's id, a tab, and its text.

    Raises `QueryError` naming an unreadable line, and for a judged query without a topic.
    """
    texts: dict[str, str] = {}
    for number, line in enumerate(topics.read_text(encoding="utf-8").splitlines(), 1):
        id, tab, text = line.partition("\t")
        if line.strip() and not (tab and text.strip()):
            raise QueryError(f"{topics}:{number} is not a topic; write the query's id, a tab, and its text")
        if line.strip():
            texts[id.strip()] = text.strip()
    grades: dict[str, dict[str, float]] = {}
    for number, line in enumerate(qrels.read_text(encoding="utf-8").splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            query, _, document, grade = parts
            if float(grade) > 0:
                grades.setdefault(query, {})[document] = float(grade)
        except ValueError as error:
            raise QueryError(f"{qrels}:{number} is not a judgement; write: query 0 document grade") from error
    missing = sorted(grades.keys() - texts.keys())
    if missing:
        raise QueryError(f"{topics} lacks the topics {', '.join(missing[:5])} that {qrels} judges")
    return _checked([Judged(id, texts[id], None, relevant) for id, relevant in grades.items()], qrels)


def _checked(judged: list[Judged], path: Path) -> list[Judged]:
    usable = [query for query in judged if query.relevant]
    if not usable:
        raise QueryError(f"{path} holds no query with a relevant document")
    ids = [query.id for query in usable]
    if len(set(ids)) != len(ids):
        raise QueryError(f"{path} gives two queries the same id")
    return usable


def as_qrels(judged: Sequence[Judged]) -> dict[str, dict[str, int]]:
    """Return grades by query and document, as evaluation libraries read them, rounded up to whole numbers."""
    return {query.id: {doc: max(1, round(grade)) for doc, grade in query.relevant.items()} for query in judged}
