"""crosslens search: one hybrid search, as a table, JSON or a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from crosslens.client import connect
from crosslens.commands.options import (
    FILE,
    FOLDER,
    connection,
    connection_options,
    parse_json,
    parse_names,
    parse_weights,
)
from crosslens.commands.saying import note, out, print_json
from crosslens.index import Index
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.fuse import MEANS, Mean
from crosslens.queries.fusion.normalizers import NORMALIZERS, Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW


@click.command()
@click.argument("index")
@click.argument("text", required=False)
@click.option("--image", "images", type=FILE, multiple=True, help="Search by this picture, alone or with the text.")
@click.option("--less", "less", multiple=True, metavar="TEXT", help="Look away from this text.")
@click.option("--less-image", "less_images", type=FILE, multiple=True, help="Look away from this picture.")
@click.option("--like", multiple=True, metavar="ID", help="Find more of this document of INDEX.")
@click.option("--filter", "filter_json", metavar="JSON", help="Elasticsearch query that every result meets.")
@click.option(
    "--weights", metavar="LEG=W,...", help="Weights by leg, as in keyword=1,photo_vector=2. Default: as tuned, else 1."
)
@click.option(
    "--sources",
    metavar="LEG=NAME,...",
    help="What a leg reads, where the index doesn't tell: legs with the same name are opinions of one thing.",
)
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to search. Default: all.")
@click.option(
    "--normalizer",
    type=click.Choice(NORMALIZERS),
    help="How the legs' scores become comparable. Default: as tuned, else evidence.",
)
@click.option(
    "--mean",
    type=click.Choice(MEANS),
    default="arithmetic",
    show_default=True,
    help="How normalized legs are fused; evidence has a way of its own.",
)
@click.option(
    "--no-completion", is_flag=True, help="One round trip: scores that a leg didn't find itself aren't looked up."
)
@click.option("--no-spelling", is_flag=True, help="Take words that nobody wrote as they are typed.")
@click.option("--min-score", type=float, help="The least total, from 0 to 1, of a result.")
@click.option("--collapse", metavar="FIELD", help="Show the best result of each value of this field.")
@click.option("--size", type=click.IntRange(1), default=10, show_default=True, help="How many results.")
@click.option(
    "--window", type=click.IntRange(1, 10_000), default=DEFAULT_WINDOW, show_default=True, help="Results of each leg."
)
@click.option("--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="Model folder. Default: the index's, if known.")
@click.option("--image-root", type=FOLDER, help="Folder that the documents' image paths start in, for --html.")
@click.option("--allow-private-urls", is_flag=True, help="For --html: fetch pictures also from your own network.")
@click.option(
    "--allow-scheme", "schemes", multiple=True, metavar="SCHEME", help="For --html: an fsspec scheme, as in s3."
)
@click.option("--html", type=FILE, help="Write a page with the pictures.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@connection_options
def search(
    index: str,
    text: str | None,
    images: tuple[Path, ...],
    less: tuple[str, ...],
    less_images: tuple[Path, ...],
    like: tuple[str, ...],
    filter_json: str | None,
    weights: str | None,
    sources: str | None,
    fields: tuple[str, ...],
    normalizer: Normalizer | None,
    mean: Mean,
    no_completion: bool,
    no_spelling: bool,
    min_score: float | None,
    collapse: str | None,
    size: int,
    window: int,
    model: Path | None,
    image_root: Path | None,
    allow_private_urls: bool,
    schemes: tuple[str, ...],
    html: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Searches INDEX by TEXT, by a picture, or by both; keyword and vector scores are blended and shown."""
    filters = parse_json(filter_json, "--filter")
    if filters is not None and not isinstance(filters, dict | list):
        raise click.BadParameter("must be a JSON object or a list of them", param_hint="--filter")
    chosen = parse_weights(weights)
    images_from = ImageAccess(root=image_root, allow_private_urls=allow_private_urls, schemes=schemes)
    searched = Index(index, client=connect(connection(**where)), model=model, images=images_from)
    result = searched.search(
        text,
        vector_fields=fields or None,
        window=window,
        image=list(images),
        less_text=list(less),
        less_image=list(less_images),
        like=list(like),
        filter=filters,
        weights=chosen or None,
        sources=parse_names(sources, "--sources") or None,
        normalizer=normalizer,
        mean=mean,
        complete=not no_completion,
        spelling=not no_spelling,
        min_score=min_score,
        collapse=collapse,
        size=size,
    )
    title = _title(text, images, less, like)
    if html is not None:
        from crosslens.queries.show.page import write_page

        fields_shown = searched.searcher(vector_fields=fields or None, window=window).fields.values()
        query = images[0] if images else None
        write_page(html, [(title, result)], fields_shown, images_from.reader(), query=query)
        note.print(f"wrote {html}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(result.as_dict())
        return
    from crosslens.queries.show.table import result_table

    out.print(result_table(result, title))
    if not result.hits:
        out.print("nothing was found")
    elif result.answered is False:
        out.print(_UNSURE, style="yellow", highlight=False)
    out.print(
        f"{result.found} documents in the window; {result.encode_ms:.0f} ms encoding, {result.search_ms:.0f} ms search",
        style="dim",
        highlight=False,
    )


_UNSURE = "nothing stands out: as good a match as the best one is likely to be found by chance"


def _title(text: str | None, images: Sequence[Path], less: Sequence[str], like: Sequence[str]) -> str:
    parts = [repr(text)] if text else []
    parts += [image.name for image in images] + [f"like {id}" for id in like]
    return (" + ".join(parts) or "search") + "".join(f" - {each!r}" for each in less)
