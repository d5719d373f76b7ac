"""crosslens serve: a search page, and the JSON API that it uses."""

from __future__ import annotations

import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import platformdirs

from crosslens.commands.options import FILE, FOLDER, connection_options, device_option
from crosslens.commands.saying import out, say
from crosslens.errors import ServingError

_NEEDED = ("prometheus_client", "starlette", "uvicorn", "aiohttp")


@click.command()
@click.argument("indices", metavar="INDEX...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8765, show_default=True, help="Port to listen on; 0: a free one."
)
@click.option(
    "--token",
    envvar="CROSSLENS_SERVE_TOKEN",
    show_envvar=True,
    help="What browsers and programs must show; demanded unless --host is this machine's own. Better given by the "
    "variable.",
)
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="Name that a proxy calls this service by.")
@click.option("--title", metavar="FIELD", help="Field that results are called by. Default: guessed.")
@click.option("--link", metavar="FIELD", help="Field with each document's own page. Default: guessed.")
@click.option(
    "--facet",
    "facets",
    multiple=True,
    metavar="FIELD",
    help="Keyword, number or date field to narrow results down by. Default: the first of each kind.",
)
@click.option("--judged", type=FILE, help="File that thumbs up and down are added to, for crosslens evaluate and tune.")
@click.option(
    "--rate", type=click.FloatRange(0.1), default=20.0, show_default=True, help="Requests a second by client."
)
@click.option("--model", type=FOLDER, envvar="CROSSLENS_MODEL", help="Model folder. Default: the index's, if known.")
@device_option
@click.option(
    "--image-root",
    "--media-root",
    "image_root",
    type=FOLDER,
    help="Folder that the documents' paths start in; no file outside is shown.",
)
@click.option("--allow-private-urls", is_flag=True, help="Fetch pictures also from addresses of your own network.")
@click.option(
    "--allow-scheme", "schemes", multiple=True, metavar="SCHEME", help="Read pictures by this fsspec scheme, as in s3."
)
@connection_options
def serve(
    indices: tuple[str, ...],
    host: str,
    port: int,
    token: str | None,
    hosts: tuple[str, ...],
    title: str | None,
    link: str | None,
    facets: tuple[str, ...],
    judged: Path | None,
    rate: float,
    model: Path | None,
    device: str,
    image_root: Path | None,
    allow_private_urls: bool,
    schemes: tuple[str, ...],
    **where: Any,
) -> None:
    """Serve a page to search each INDEX by words, by pictures, and by both, and the JSON API that it uses.

    The API is described at /api/v1/openapi.json; /healthz, /readyz and /metrics are for whoever watches the service.
    Needs the extra "serve". Ends by SIGINT or SIGTERM.
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise ServingError(
            "the search page needs Starlette, uvicorn, aiohttp and prometheus-client", hint="install crosslens[serve]"
        )
    from crosslens.async_index import AsyncIndex
    from crosslens.ingest.model.encoder import Encoder
    from crosslens.ingest.sources.access import ImageAccess
    from crosslens.serving.given import GivenPictures
    from crosslens.serving.origin import Door
    from crosslens.serving.rates import Rate
    from crosslens.serving.referred import Signer
    from crosslens.serving.running import Place, run
    from crosslens.serving.searching import Asking, Searches
    from crosslens.serving.service import Service
    from crosslens.serving.thumbs import ThumbsFile
    from crosslens.serving.views import Presentation

    # An empty variable is none.
    door = Door(frozenset(each.lower() for each in hosts), any_host=bool(token), token=token or None)
    place = Place(door, host, port, Rate(rate, 3 * rate))
    place.check()
    # One for all indices: it has the memory of a model.
    encoder = None if model is None else Encoder(model, device=device)
    images = ImageAccess(root=image_root, allow_private_urls=allow_private_urls, schemes=schemes)
    cache = Path(os.environ.get("CROSSLENS_CACHE") or platformdirs.user_cache_path("crosslens"))
    reader, given = images.reader(), GivenPictures(cache / "given")
    how = Asking(given, reader, facets or None)
    service = Service(
        {
            name: Searches(AsyncIndex(name, model=encoder, images=images, device=device, **where), how)
            for name in dict.fromkeys(indices)
        },
        Presentation(Signer(), title, link),
        reader,
        given,
        ThumbsFile(judged) if judged else None,
    )
    # The server has ended by then, as it was asked to.
    with contextlib.suppress(KeyboardInterrupt):
        run(service, place, _started)


def _started(url: str) -> None:
    out.print(url, highlight=False, soft_wrap=True)
    say("the search page is there; Ctrl-C ends it")
