"""The JSON API, which the page itself uses, and what watches the service."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from crosslens.errors import QueryError
from crosslens.serving.answers import failure_of
from crosslens.serving.asked import Asked
from crosslens.serving.figures import CONTENT_TYPE
from crosslens.serving.given import MOST_BYTES
from crosslens.serving.openapi import description
from crosslens.serving.service import Service
from crosslens.serving.thumbs import Thumb

# What a judgement takes at most: a search's longest URL, and a name.
_MOST_JSON = 100_000


class Api:
    """Endpoints under ``/api/v1``; a change that a client could notice gives them another number."""

    def __init__(self, service: Service):
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/v1/search", self.search),
            Route("/api/v1/pictures", self.give, methods=["POST"]),
            Route("/api/v1/thumbs", self.judge, methods=["POST"]),
            Route("/api/v1/openapi.json", self.openapi),
            Route("/healthz", self.healthy),
            Route("/readyz", self.ready),
            Route("/metrics", self.metrics),
        ]

    async def search(self, request: Request) -> Response:
        """``GET``: a page of results."""
        return JSONResponse(await self._service.search(Asked.of(request.query_params.multi_items())))

    async def give(self, request: Request) -> Response:
        """``POST`` of a picture's bytes: the id to search for it by."""
        data = await body_of(request, MOST_BYTES, "the picture")
        id = await self._service.decoding(self._service.given.keep, data)
        return JSONResponse({"id": id, "address": f"/pictures/given/{id}"}, 201)

    async def judge(self, request: Request) -> Response:
        """``POST`` of a thumb."""
        thumb = _thumb(await body_of(request, _MOST_JSON, "the judgement"))
        if self._service.thumbs is None:
            raise QueryError("thumbs aren't kept here", hint="name a file for them when the service is started")
        # A judgement of an index that isn't served can only be a mistake.
        self._service.of(thumb.asked)
        await asyncio.to_thread(self._service.thumbs.add, thumb)
        self._service.figures.thumbs.labels(thumb.way).inc()
        return Response(status_code=204)

    async def openapi(self, _: Request) -> Response:
        """``GET``: the API's description."""
        return JSONResponse(description())

    async def healthy(self, _: Request) -> Response:
        """``GET``: whether the process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self, _: Request) -> Response:
        """``GET``: whether searches can be made; why not, is in the log, as anybody may ask this."""
        try:
            await self._service.ready()
        except Exception as error:
            if failure_of(error) is None:
                raise
            return JSONResponse({"status": "not ready"}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        """``GET``: figures for Prometheus."""
        return Response(self._service.figures.exposition(), headers={"content-type": CONTENT_TYPE})


async def body_of(request: Request, most: int, what: str) -> bytes:
    """Return a request's body. Raises `QueryError` as soon as there is more of it than ``most`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise QueryError(f"{what} has more than the {most:,} bytes that are allowed")
    return bytes(body)


def _thumb(body: bytes) -> Thumb:
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryError("the judgement is not JSON") from error
    if not isinstance(given, dict) or set(given) != {"url", "document", "way"}:
        raise QueryError("a judgement has url, document and way, and nothing else")
    if not all(isinstance(value, str) for value in given.values()) or given["way"] not in ("up", "down"):
        raise QueryError('url and document are strings, and way is "up" or "down"')
    if not 0 < len(given["document"]) <= 512:
        raise QueryError("document is not the id of a document")
    return Thumb(Asked.of(_pairs(given["url"])), given["document"], given["way"])


def _pairs(url: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(url, keep_blank_values=True, max_num_fields=1_000)
    except ValueError as error:
        raise QueryError("url is not the query string of a search") from error
