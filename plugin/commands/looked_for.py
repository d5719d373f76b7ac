"""What a search looks for, as the command line names it: files and URLs, a draft, and what all of it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from crosslens.ingest.sources.access import ImageAccess, ImageReader, is_remote
from crosslens.ingest.sources.media import MediaReader

# Of a sound or video that is searched with, what is fetched at most: it is held in memory.
_MOST_FETCHED = 256 << 20


def draft_text(draft: Path) -> str:
    """Return the text of a file, or of standard input for -. Raises `click.BadParameter` where it can't be read."""
    try:
        data = sys.stdin.buffer.read() if draft == Path("-") else draft.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise click.BadParameter(f"{draft} can't be read ({error.strerror})", param_hint="--draft") from error
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"{draft} isn't text in UTF-8 ({error})", param_hint="--draft") from error


def title_of_query(text: str | None, files: Sequence[str], less: Sequence[str], like: Sequence[str]) -> str:
    """Return what a search is called: its text, the names of its files, what it is to be like and unlike."""
    parts = [repr(text)] if text else []
    parts += ["image" if file[:5].lower() == "data:" else Path(file).name or file for file in files]
    parts += [f"like {id}" for id in like]
    return (" + ".join(parts) or "search") + "".join(f" - {each!r}" for each in less)


def picture(reference: str, reader: ImageReader) -> Path | bytes:
    """Return a file, or the bytes that a URL leads to. Raises `ImageError` when they can't be fetched."""
    return reader.read(reference) if is_remote(reference) or reference[:5].lower() == "data:" else Path(reference)


def media(reference: str, access: ImageAccess) -> Path | bytes:
    """Return a file, or the bytes that a URL leads to. Raises `MediaError` when they can't be fetched."""
    if not is_remote(reference):
        return Path(reference)
    with MediaReader(access, max_bytes=_MOST_FETCHED).open(reference) as media:
        return media.file.read()
