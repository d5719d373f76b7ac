"""Pictures and files that results show: each by an address that only this service makes."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from crosslens.errors import ImageError, QueryError
from crosslens.serving.service import Service

# The address says what is shown, and each process makes its own, so a browser need not ask again.
_CACHED = {"cache-control": "private, max-age=3600"}
# Whatever a file holds, a browser that opens it by itself runs nothing of it.
_SANDBOX = {"content-security-policy": "default-src 'none'; sandbox"}


class Files:
    """Endpoints that give browsers pictures and media."""

    def __init__(self, service: Service):
        self._service = service

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/pictures/given/{id}", self.given),
            Route("/pictures/{address}", self.thumbnail),
            Route("/files/{address}", self.medium),
        ]

    async def given(self, request: Request) -> Response:
        """``GET``: a picture that somebody searched by."""
        try:
            data = await self._service.decoding(self._service.given.read, request.path_params["id"])
        except QueryError as error:
            raise HTTPException(404, error.message) from error
        return Response(data, headers=_CACHED, media_type="image/webp")

    async def thumbnail(self, request: Request) -> Response:
        """``GET``: a document's picture, small. 404, with the reason as text, where it can't be had."""
        referred = self._service.how.signer.read(request.path_params["address"])
        if referred is None or referred.kind != "picture":
            raise HTTPException(404, "no picture has this address")
        try:
            data = await self._service.decoding(self._service.thumbnails.of, referred.reference)
        except ImageError as error:
            raise HTTPException(404, error.message) from error
        return Response(data, headers=_CACHED, media_type="image/webp")

    async def medium(self, request: Request) -> Response:
        """``GET``: a sound or video below the root, whole or the range that a player asks for (RFC 9110, 14.2)."""
        referred = self._service.how.signer.read(request.path_params["address"])
        if referred is None or referred.kind not in ("audio", "video"):
            raise HTTPException(404, "no file has this address")
        path = self._service.reader.file(referred.reference)
        if path is None:
            raise HTTPException(404, "the file isn't in the folder that this service reads")
        return FileResponse(path, headers={**_CACHED, **_SANDBOX}, media_type=_type_of(path, referred.kind))


def _type_of(path: Path, kind: str) -> str:
    """What players are told that a file is: a sound or video by its name, never a page."""
    guessed = mimetypes.guess_type(path.name)[0] or ""
    return guessed if guessed.startswith(("audio/", "video/")) else f"{kind}/octet-stream"
