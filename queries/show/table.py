"""Search results as tables for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from crosslens.queries.fusion.fuse import Part
from crosslens.queries.show.moments import described
from crosslens.queries.show.result import Hit, SearchResult
from crosslens.surrogates import well_formed

LEG_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_BAR = 12
# Rank, total, bar, and the space between columns.
_BESIDE = 4 + 7 + _BAR + 2
# As in "0.45 (12.31)", and the least that a document's column needs to be read.
_PART, _LEAST = 12, 34
# Of a passage, what is shown of its beginning.
_SNIPPET = 240
_MARKS = re.compile(r"</?em>")
# Names that catalogues and archives commonly give to the one field a person recognises a document by.
_TITLE_FIELDS = ("title", "name", "headline", "label", "caption", "subject", "product_name")


@dataclass(frozen=True)
class ResultTable:
    """Search results as a table that suits the terminal's width."""

    result: SearchResult
    title: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield a column for each leg where that leaves the documents room, else a line under each document."""
        legs = sum(max(cell_len(leg), _PART) + 2 for leg in self.result.legs)
        room = options.max_width - legs - _BESIDE
        if room >= _LEAST:
            yield self._wide("#" if options.ascii_only else "█")
        else:
            yield self._narrow(options.max_width - _BESIDE + _BAR + 2)

    def _wide(self, block: str) -> Table:
        # Only the document's column gives way where the terminal is narrow: numbers cut short would mislead.
        table = _ranked(self.title)
        table.add_column("document", overflow="fold")
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("made of", no_wrap=True, min_width=_BAR)
        for i, leg in enumerate(self.result.legs):
            table.add_column(Text(leg, style=_colour(i)), justify="right", no_wrap=True)
        for rank, hit in enumerate(self.result.hits, 1):
            parts = [_part(hit.parts[leg]) for leg in self.result.legs]
            table.add_row(str(rank), _document(hit), f"{hit.score:.3f}", _bar(hit.parts, block), *parts)
        return table

    def _narrow(self, room: int) -> Table:
        table = _ranked(self.title)
        table.add_column("document", overflow="fold")
        table.add_column("score", justify="right", no_wrap=True)
        for rank, hit in enumerate(self.result.hits, 1):
            text = _document(hit)
            parts = [
                Text.assemble((leg, _colour(i)), " ", _part(hit.parts[leg])) for i, leg in enumerate(self.result.legs)
            ]
            for line in _lines(parts, room):
                text.append("\n").append_text(line)
            table.add_row(str(rank), text, f"{hit.score:.3f}")
        return table


def result_table(result: SearchResult, title: str) -> ResultTable:
    """Return rank, document, total with a bar of each leg's share, and each leg's raw and weighted score, as a table.

    On a narrow terminal each leg's scores stand under the document instead of beside it.
    """
    return ResultTable(result, well_formed(title))


def facets_table(field: str, buckets: Sequence[Mapping[str, Any]], others: int) -> Table:
    """Return the values of a field with how many documents have each; ``others`` have values that aren't listed."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column(Text(well_formed(field)), overflow="fold")
    table.add_column("documents", justify="right", no_wrap=True)
    for bucket in buckets:
        value = str(bucket.get("key_as_string", bucket["key"]))
        table.add_row(Text(well_formed(value)), str(bucket["doc_count"]))
    if others:
        table.add_row(Text("other values", style="dim"), str(others))
    return table


def matched_as(value: Mapping[str, Any]) -> str:
    """What stands for a value that matched: an image's reference, the beginning of a passage, or else its number."""
    if "text" in value:
        return shortened(value["text"])
    if "end" in value:
        return f"characters {value['start']} to {value['end']}"
    return str(value.get("reference", f"no. {value['position']}"))


def shortened(text: str) -> str:
    """The beginning of a text, as far as it is shown."""
    return textwrap.shorten(text, _SNIPPET, placeholder=" ...") or text[:_SNIPPET]


def _lines(parts: Sequence[Text], room: int) -> list[Text]:
    """The parts in as few lines as hold them, none of them broken."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 2 + part.cell_len <= room:
            lines[-1].append("  ").append_text(part)
        else:
            lines.append(part.copy())
    return lines


def _document(hit: Hit) -> Text:
    """What the document is called, which of its values and moments matched, where words did, and why it is there."""
    text = Text(title_of(hit))
    for leg, value in hit.matched.items():
        if "start_ms" not in value:
            text.append(well_formed(f"\n{leg}: {matched_as(value)}"), style="dim")
    for moment in hit.moments:
        said = "" if moment.text is None else f": {shortened(moment.text)}"
        text.append(well_formed(f"\n{moment.source} {described(moment)}{said}"), style="dim")
    if hit.answers:
        text.append(well_formed(f"\nanswers: {matched_as(hit.answers)}"), style="dim")
    for field, fragments in hit.highlight.items():
        text.append(well_formed(f"\n{field}: "), style="dim")
        for i, piece in enumerate(_MARKS.split(well_formed(" ... ".join(fragments)))):
            # What stood between two marks has an odd place.
            text.append(piece, style="bold" if i % 2 else "")
    if hit.explanation:
        text.append(well_formed(f"\n{why(hit)}"), style="dim")
    return text


def why(hit: Hit, *, whole: bool = False) -> str:
    """The hit's explanation in one sentence; empty where it has none.

    It speaks of the legs that found the document, or of the first one where none did; with ``whole`` of all.
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
    return well_formed(hit.id)


def _first_string(value: Any) -> str | None:
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    return well_formed(value.strip()) or None if isinstance(value, str) else None


def _bar(parts: Mapping[str, Part], block: str) -> Text:
    text = Text()
    # Whole cells by rounding the running sum, so that the bar's length is the total's and not a sum of roundings.
    drawn, total = 0, 0.0
    for i, part in enumerate(parts.values()):
        total += part.weighted
        upto = round(total * _BAR)
        text.append(block * (upto - drawn), style=_colour(i))
        drawn = upto
    return text


def _part(part: Part) -> Text:
    if part.raw is None:
        return Text("-", style="dim")
    return Text.assemble(f"{part.weighted:.2f}", (f" ({part.raw:.2f})", "dim"))


def _colour(i: int) -> str:
    return LEG_COLOURS[i % len(LEG_COLOURS)]
