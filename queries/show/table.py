"""Search results as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from crosslens.queries.fusion.fuse import Part
from crosslens.queries.show.result import Hit, SearchResult

LEG_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_BAR = 12
# Names that catalogues and archives commonly give to the one field a person recognises a document by.
_TITLE_FIELDS = ("title", "name", "headline", "label", "caption", "subject", "product_name")


def result_table(result: SearchResult, title: str) -> Table:
    """Rank, document, total with a bar of each leg's share, and each leg's raw and weighted score."""
    # Only the document's column gives way where the terminal is narrow: numbers cut short would mislead.
    table = _ranked(title)
    table.add_column("document", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("made of", no_wrap=True, min_width=_BAR)
    for i, leg in enumerate(result.legs):
        table.add_column(Text(leg, style=_colour(i)), justify="right", no_wrap=True)
    for rank, hit in enumerate(result.hits, 1):
        table.add_row(
            str(rank),
            _document(hit),
            f"{hit.score:.3f}",
            _bar(hit.parts),
            *(_part(hit.parts[leg]) for leg in result.legs),
        )
    return table


def _document(hit: Hit) -> Text:
    """What the document is called, which of its several images matched, and why it is where it is."""
    text = Text(title_of(hit))
    for leg, value in hit.matched.items():
        text.append(f"\n{leg}: {value.get('reference', 'no. ' + str(value['position']))}", style="dim")
    if hit.explanation:
        text.append(f"\n{why(hit)}", style="dim")
    return text


def why(hit: Hit, *, whole: bool = False) -> str:
    """The hit's explanation in one sentence; empty where it has none.

    It tells of the legs that found the document, or of the first one where none did; with ``whole`` of all.
    """
    found = sum(part.chance is not None for part in hit.parts.values())
    return "; ".join(hit.explanation if whole else hit.explanation[: max(found, 1)])


def side_by_side(
    columns: Mapping[str, SearchResult], title: str, rows: int, *, label: Callable[[Hit], str] | None = None
) -> Table:
    """The first ``rows`` documents of several searches next to each other, called by ``label`` (None: `title_of`)."""
    label = label or title_of
    table = _ranked(title)
    for name in columns:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for i in range(rows):
        cells = []
        for result in columns.values():
            hit = result.hits[i] if i < len(result.hits) else None
            cells.append(Text(f"{hit.score:.2f}  {label(hit)}") if hit else Text("-", style="dim"))
        table.add_row(str(i + 1), *cells)
    return table


def _ranked(title: str) -> Table:
    """A table whose first column is the rank."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("#", justify="right", style="dim", no_wrap=True)
    return table


def title_of(hit: Hit) -> str:
    """What a person recognises the document by: a title-like field, else its first short text, else its id."""
    for name in _TITLE_FIELDS:
        value = _first_string(hit.source.get(name))
        if value:
            return value
    for value in hit.source.values():
        text = _first_string(value)
        if text and len(text) <= 200:
            return text
    return hit.id


def _first_string(value: Any) -> str | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return value.strip() or None if isinstance(value, str) else None


def _bar(parts: Mapping[str, Part]) -> Text:
    text = Text()
    # Whole cells by rounding the running sum, so that the bar's length is the total's and not a sum of roundings.
    drawn, total = 0, 0.0
    for i, part in enumerate(parts.values()):
        total += part.weighted
        upto = round(total * _BAR)
        text.append("█" * (upto - drawn), style=_colour(i))
        drawn = upto
    return text


def _part(part: Part) -> Text:
    if part.raw is None:
        return Text("-", style="dim")
    return Text.assemble(f"{part.weighted:.2f}", (f" ({part.raw:.2f})", "dim"))


def _colour(i: int) -> str:
    return LEG_COLOURS[i % len(LEG_COLOURS)]
