"""Which legs of a search read the same thing, so that they count as opinions of it and not as witnesses of their own.

A leg reads fields of the documents: BM25 the text fields it searches, a vector leg the fields that its vector was made
from, as the index records them. Two legs have one source where they read a field in common in the same way, as words or
as a picture: BM25 over title and description and a vector of the title do; a picture's path that is searched as text,
and the picture's vector, do not. A sound or video is read in three ways: its frames, its sound and its captions are
different sources, and vectors of frames and sound together are of one with either. That goes on: what shares a field
with any leg of a source belongs to it. So what overlaps without being equal is one source. Whoever knows better says so
(`assign`'s ``chosen``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from crosslens.errors import QueryError
from crosslens.ingest.contract.mapping import flat_properties

# A field of the documents, and how it is read: as text, as an image, or the frames, sound or captions of its file.
Reads = frozenset[tuple[str, str]]
_OF_FILES = ("frames", "sound", "captions")


def copies(mapping: Mapping[str, Any]) -> dict[str, set[str]]:
    """By text field, the fields whose words it holds: of a multi-field its parent, and what is copied into it.

    Fields that hold only their own words are left out.
    """
    found: dict[str, set[str]] = {}
    for path, definition in flat_properties(mapping).items():
        for name in definition.get("fields") or {}:
            found.setdefault(f"{path}.{name}", set()).add(path)
        into = definition.get("copy_to") or []
        for target in [into] if isinstance(into, str) else into:
            found.setdefault(target, {target}).add(path)
    return found


def words_of(
    fields: Iterable[str],
    held: Mapping[str, Iterable[str]],
    named: Callable[[list[str]], Iterable[str]] = lambda patterns: patterns,
    captions: Mapping[str, str] | None = None,
) -> Reads:
    """What a keyword leg over ``fields`` reads, some of which hold others' words; boosts (``title^3``) are cut.

    ``named`` says which fields names with wildcards (``product.*``) stand for, and ``captions`` which file the words of
    a field were spoken in.
    """
    names = {name.partition("^")[0] for name in fields}
    paths = [path for name in names for path in (named([name]) if "*" in name else [name])]
    spoken = captions or {}
    return frozenset(
        ("captions", spoken[path]) if path in spoken else ("text", origin)
        for path in paths
        for origin in held.get(path, {path})
    )


def assign(reads: Mapping[str, Reads], chosen: Mapping[str, str]) -> dict[str, str]:
    """The name of each leg's source, by leg.

    ``chosen`` says otherwise for the legs that it names: those with the same name are one source, also with a leg of
    which nothing is said and whose source has that name. A source is called after the fields of the leg that reads the
    fewest, or after its first leg where fields aren't known.

    Raises `QueryError` when ``chosen`` names no leg of the search.
    """
    unknown = sorted(set(chosen) - set(reads))
    if unknown:
        raise QueryError(f"sources name no leg of this search: {', '.join(unknown)}; its legs are {', '.join(reads)}")
    groups: list[list[str]] = []
    for name, fields in reads.items():
        if name in chosen:
            continue
        joined = [group for group in groups if any(fields & reads[other] for other in group)]
        groups = [group for group in groups if group not in joined]
        groups.append([*(other for group in joined for other in group), name])
    named: dict[str, str] = {}
    for group in groups:
        called = _called(group, reads)
        # A field that is read as words by one leg and as a picture by another gives two sources its name.
        while called in named.values():
            called = f"{called} of {group[0]}"
        named |= dict.fromkeys(group, called)
    return {name: chosen.get(name) or named[name] for name in reads}


def _called(legs: Sequence[str], reads: Mapping[str, Reads]) -> str:
    known = [name for name in legs if reads[name]]
    if not known:
        return legs[0]
    fewest = min(known, key=lambda name: len(reads[name]))
    return ", ".join(sorted(f"{field} ({how})" if how in _OF_FILES else field for how, field in reads[fewest]))
