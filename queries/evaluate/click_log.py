"""Reading the lines of a log of shown results and clicks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosslens.errors import QueryError

_LARGEST_OFFSET = 1_000_000


# Query, document, rank.
Place = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Line:
    """A list of results (``shown``, after ``before`` earlier ones) with its clicks, or thumbs ``up`` and ``down``."""

    query: str
    text: str | None
    image: str | None
    shown: tuple[str, ...] | None
    before: int
    clicked: frozenset[str]
    up: frozenset[str]
    down: frozenset[str]


@dataclass(slots=True)
class Query:
    """The log's data on one query."""

    text: str | None
    image: str | None
    lists: int = 0
    thumb_lines: int = 0
    clicks: Counter[str] = field(default_factory=Counter)
    up: Counter[str] = field(default_factory=Counter)
    down: Counter[str] = field(default_factory=Counter)


@dataclass
class Log:
    """The data of a whole log; ``clicked`` counts clicks by query, document and rank."""

    lines: int = 0
    empty: int = 0
    queries: dict[str, Query] = field(default_factory=dict)
    clicked: Counter[Place] = field(default_factory=Counter)


def gather(path: Path) -> Log:
    """Read a log. Raises `QueryError` naming an unreadable line."""
    log = Log()
    for number, line in lines(path):
        log.lines += 1
        query = log.queries.setdefault(line.query, Query(line.text, line.image))
        if (query.text, query.image) != (line.text, line.image):
            raise QueryError(
                f'{path}:{number} gives the query "{line.query}" another text or image than a line before; '
                'give different queries different "query" ids'
            )
        if line.shown is None:
            query.thumb_lines += 1
            query.up.update(line.up)
            query.down.update(line.down)
        elif not line.shown:
            log.empty += 1
        else:
            query.lists += 1
            query.clicks.update(line.clicked)
            for rank, document in enumerate(line.shown, line.before + 1):
                if document in line.clicked:
                    log.clicked[line.query, document, rank] += 1
    return log


def lines(path: Path) -> Iterator[tuple[int, Line]]:
    """Yield a log's lines with their numbers. Raises `QueryError` as `gather` does."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                parsed = _parsed(json.loads(line))
            except ValueError as error:
                raise QueryError(
                    f"{path}:{number} is neither clicks nor thumbs: {error}; write "
                    '{"text": ..., "shown": ["DOC", ...], "clicked": ["DOC", ...]} or '
                    '{"text": ..., "up": ["DOC", ...], "down": ["DOC", ...]}'
                ) from error
            yield number, parsed


def _parsed(entry: Any) -> Line:
    if not isinstance(entry, dict):
        raise ValueError("it isn't a JSON object")
    text, image = _string(entry, "text"), _string(entry, "image")
    if text is None and image is None:
        raise ValueError("there is neither a text nor an image")
    given = entry.get("query")
    id = str(given) if given is not None else " with ".join(part for part in (text, image) if part)
    is_list, is_thumbs = "shown" in entry or "clicked" in entry, "up" in entry or "down" in entry
    if is_list == is_thumbs:
        raise ValueError('either "shown" and "clicked" or "up" and "down" are needed')
    if is_thumbs:
        up, down = frozenset(_ids(entry, "up")), frozenset(_ids(entry, "down"))
        if up & down:
            raise ValueError(f'"{min(up & down)}" is both up and down')
        return Line(id, text, image, None, 0, frozenset(), up, down)
    for name in ("shown", "clicked"):
        if name not in entry:
            raise ValueError(f'"{name}" is missing')
    shown, clicked = _ids(entry, "shown"), frozenset(_ids(entry, "clicked"))
    if len(set(shown)) != len(shown):
        raise ValueError('"shown" names a document twice')
    if clicked - set(shown):
        raise ValueError(f'"{min(clicked - set(shown))}" was clicked, but isn\'t among those shown')
    offset = entry.get("offset", 0)
    if type(offset) is not int or not 0 <= offset <= _LARGEST_OFFSET:
        raise ValueError(f'"offset" isn\'t a whole number from 0 to {_LARGEST_OFFSET}')
    return Line(id, text, image, shown, offset, clicked, frozenset(), frozenset())


def _string(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f'"{name}" is not a string')
    return (value or "").strip() or None


def _ids(entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = entry.get(name, [])
    if not isinstance(values, list) or not all(type(value) in (str, int) for value in values):
        raise ValueError(f'"{name}" is not a list of document ids')
    return tuple(map(str, values))
