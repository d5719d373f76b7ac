"""crosslens search: one hybrid search, as a table, JSON or a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from crosslens.client import connect
from crosslens.commands.looked_for import draft_text, media, picture, title_of_query
from crosslens.commands.options import (
    FILE,
    FOLDER,
    connection,
    connection_options,
    device_option,
    parse_json,
    parse_names,
    parse_weights,
    text_model_option,
)
from crosslens.commands.saying import out, print_json, say
from crosslens.index import Index
from crosslens.ingest.sources.access import ImageAccess
from crosslens.queries.fusion.fuse import MEANS, Mean
from crosslens.queries.fusion.normalizers import NORMALIZERS, Normalizer
from crosslens.queries.fusion.scores import DEFAULT_WINDOW


@click.command()
@click.argument("index")
@click.argument("text", required=False)
@click.option(
    "--image", "images", metavar="FILE|URL", multiple=True, help="Search by this image, alone or with the text."
)
@click.option(
    "--audio", "sounds", metavar="FILE|URL", multiple=True, help="Search by this sound, alone or with the text."
)
@click.option(
    "--video",
    "footage",
    metavar="FILE|URL",
    multiple=True,
    help="Search by this video: its frames, its sound, or both.",
)
@click.option(
    "--draft",
    type=FILE,
    help="Search with a text of any length, passage by passage, in place of TEXT; - is standard input.",
)
@click.option(
    "--combine",
    type=click.Choice(["best", "mean"]),
    default="best",
    show_default=True,
    help="Rank by the passage of the draft that a document answers best, or by the mean over all.",
)
@click.option("--less", "less", multiple=True, metavar="TEXT", help="Rank documents like this text lower.")
@click.option(
    "--less-image", "less_images", metavar="FILE|URL", multiple=True, help="Rank documents like this image lower."
)
@click.option("--like", multiple=True, metavar="ID", help="Find more of this document of INDEX.")
@click.option("--filter", "filter_json", metavar="JSON", help="Elasticsearch query that every result meets.")
@click.option(
    "--post-filter", "post_filter_json", metavar="JSON", help="The same, but not for what --facets-over keyword counts."
)
@click.option(
    "--weights", metavar="LEG=W,...", help="Weights by leg, as in keyword=1,photo_vector=2. Default: as tuned, else 1."
)
@click.option(
    "--sources",
    metavar="LEG=NAME,...",
    help="What a leg reads, where the index doesn't say: legs with the same name are opinions of one thing.",
)
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Vector field to search. Default: all.")
@click.option(
    "--text-fields",
    metavar="FIELD[^BOOST],...",
    help="Text fields of the keyword leg, with boosts, as in title^3,description. Default: all.",
)
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
@click.option("--no-spelling", is_flag=True, help="Take misspelt words as they are typed.")
@click.option("--min-score", type=float, help="The least total, from 0 to 1, of a result.")
@click.option(
    "--sort",
    metavar="FIELD[:asc|desc],...",
    help="Order the window's documents by fields instead of their total; or Elasticsearch's own sort, as JSON.",
)
@click.option("--collapse", metavar="FIELD", help="Show the best result of each value of this field.")
@click.option("--facet", "facets", multiple=True, metavar="FIELD", help="Count the values of this field.")
@click.option(
    "--facets-over",
    type=click.Choice(["window", "keyword"]),
    default="window",
    show_default=True,
    help="Count over the documents of the window, or over all keyword matches.",
)
@click.option("--highlight", is_flag=True, help="Show where the words matched.")
@click.option("--page", "paged", is_flag=True, help="Start pages that don't shift while the index changes.")
@click.option("--next", "token", metavar="TOKEN", help="Show the next page of the same search, by the token shown.")
@click.option("--size", type=click.IntRange(1), default=10, show_default=True, help="How many results.")
@click.option(
    "--window", type=click.IntRange(1, 10_000), default=DEFAULT_WINDOW, show_default=True, help="Results of each leg."
)
@click.option("--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="Model folder. Default: the index's, if known.")
@text_model_option("The text fields' model, if it isn't the same. Default: the index's, if known.")
@device_option
@click.option(
    "--image-root",
    "--media-root",
    "image_root",
    type=FOLDER,
    help="Folder that the documents' paths start in, for --html.",
)
@click.option("--allow-private-urls", is_flag=True, help="Fetch files also from addresses of your own network.")
@click.option(
    "--allow-scheme", "schemes", multiple=True, metavar="SCHEME", help="Read images by this fsspec scheme, as in s3."
)
@click.option(
    "--html", type=FILE, help="Write a page with the pictures, that plays sounds and videos from the moment found."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@connection_options
def search(
    index: str,
    text: str | None,
    images: tuple[str, ...],
    sounds: tuple[str, ...],
    footage: tuple[str, ...],
    draft: Path | None,
    combine: Literal["best", "mean"],
    less: tuple[str, ...],
    less_images: tuple[str, ...],
    like: tuple[str, ...],
    filter_json: str | None,
    post_filter_json: str | None,
    weights: str | None,
    sources: str | None,
    fields: tuple[str, ...],
    text_fields: str | None,
    normalizer: Normalizer | None,
    mean: Mean,
    no_completion: bool,
    no_spelling: bool,
    min_score: float | None,
    sort: str | None,
    collapse: str | None,
    facets: tuple[str, ...],
    facets_over: Literal["keyword", "window"],
    highlight: bool,
    paged: bool,
    token: str | None,
    size: int,
    window: int,
    model: Path | None,
    text_model: Path | None,
    device: str,
    image_root: Path | None,
    allow_private_urls: bool,
    schemes: tuple[str, ...],
    html: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Search INDEX by TEXT, by an image, a sound or a video, or by several; keyword and vector scores are fused and
    shown.

    Images, sounds and videos are files, or URLs fetched with the same care as those of documents.
    """
    if token and paged:
        raise click.UsageError("--page starts pages, --next goes on with them; give one of them")
    if draft is not None and text is not None:
        raise click.UsageError("--draft is searched with in place of TEXT; give one of them")
    words = None if text_fields is None else [each.strip() for each in text_fields.split(",") if each.strip()]
    filters, post_filters = _queries(filter_json, "--filter"), _queries(post_filter_json, "--post-filter")
    chosen, order = parse_weights(weights), _order(sort)
    images_from = ImageAccess(root=image_root, allow_private_urls=allow_private_urls, schemes=schemes)
    reader = images_from.reader()
    pictures = [picture(each, reader) for each in images]
    searched = Index(
        index,
        client=connect(connection(**where)),
        model=model,
        text_model=text_model,
        images=images_from,
        device=device,
    )
    how: dict[str, Any] = {
        "vector_fields": fields or None,
        "text_fields": words,
        "window": window,
        "image": pictures,
        "audio": [media(each, images_from) for each in sounds],
        "video": [media(each, images_from) for each in footage],
        "less_text": list(less),
        "less_image": [picture(each, reader) for each in less_images],
        "like": list(like),
        "filter": filters,
        "post_filter": post_filters,
        "weights": chosen or None,
        "sources": parse_names(sources, "--sources") or None,
        "normalizer": normalizer,
        "mean": mean,
        "complete": not no_completion,
        "spelling": not no_spelling,
        "min_score": min_score,
        "sort": order,
        "collapse": collapse,
        "aggregations": {each: {"terms": {"field": each, "size": _VALUES}} for each in facets} or None,
        "aggregate_over": facets_over,
        "highlight": {"fields": {"*": {}}, "pre_tags": ["<em>"], "post_tags": ["</em>"]} if highlight else None,
        "page": token or paged or None,
        "size": size,
    }
    if draft is not None:
        result = searched.search_draft(draft_text(draft), combine=combine, **how)
        title = draft.name if draft != Path("-") else "draft"
    else:
        result = searched.search(text, **how)
        title = title_of_query(text, [*images, *sounds, *footage], less, like)
    if html is not None:
        from crosslens.queries.show.page import write_page

        fields_shown = searched.searcher(vector_fields=fields or None, text_fields=words, window=window).fields
        query = pictures[0] if pictures else None
        write_page(html, [(title, result)], fields_shown.values(), reader, query=query)
        say(f"wrote {html}")
    if as_json:
        print_json(result.as_dict())
        return
    from crosslens.queries.show.table import facets_table, result_table

    out.print(result_table(result, title))
    if not result.hits:
        out.print("nothing was found")
    elif result.answered is False:
        out.print(_UNSURE, style="yellow", highlight=False)
    for each in facets:
        counted = result.aggregations.get(each) or {"buckets": []}
        out.print(facets_table(each, counted["buckets"], counted.get("sum_other_doc_count", 0)))
    if result.next:
        out.print(f"next page: the same search with --next {result.next}", highlight=False, soft_wrap=True)
    if result.draft is not None:
        of = f"{result.draft.searched} of the draft's {result.draft.passages} passages"
        rest = "" if result.draft.searched == result.draft.passages else "; the others are much like these"
        out.print(f"searched with {of}{rest}", style="dim", highlight=False)
    out.print(
        f"{result.found} documents in the window; {result.encode_ms:.0f} ms encoding, {result.search_ms:.0f} ms search",
        style="dim",
        highlight=False,
    )


# Values of a facet that are listed.
_VALUES = 10
_UNSURE = "nothing stands out: as good a match as the best one is likely to be found by chance"


def _queries(value: str | None, option: str) -> Any:
    """One query or several. Raises `click.BadParameter` for anything else."""
    queries = parse_json(value, option)
    several = queries if isinstance(queries, list) else [queries]
    if queries is not None and not all(isinstance(each, dict) for each in several):
        raise click.BadParameter("must be a JSON object or a list of them", param_hint=option)
    return queries


def _order(value: str | None) -> Any:
    """``price:desc,brand``, as Elasticsearch's URLs have it, or JSON, as what ``_search`` takes; None for none."""
    if value is None or value.lstrip()[:1] in ("[", "{"):
        return parse_json(value, "--sort")
    fields = []
    for part in value.split(","):
        field, colon, order = part.strip().rpartition(":")
        if not colon:
            field, order = order, "asc"
        if not field or order not in ("asc", "desc"):
            raise click.BadParameter(f"{part!r} is not FIELD, FIELD:asc or FIELD:desc", param_hint="--sort")
        fields.append({field: {"order": order}})
    return fields
