"""The page: the API's own answers, rendered on the server, so that it works before any script runs and without one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from crosslens.errors import QueryError
from crosslens.queries.fusion.normalizers import NORMALIZERS
from crosslens.serving.answers import Failure, failure_of
from crosslens.serving.api import body_of
from crosslens.serving.asked import Asked
from crosslens.serving.origin import COOKIE, Door
from crosslens.serving.service import LOG, Service
from crosslens.serving.thumbs import judgeable
from crosslens.serving.views import UNSURE
from crosslens.surrogates import well_formed

_TYPES = {"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8"}
# The stylesheet's palette.
_COLOURS = 6
_LONGEST_LOGIN = 4_096
_DAY_S = 86_400


class Page:
    """Endpoints for people: the search, the form for the token, and what both load."""

    def __init__(self, service: Service, door: Door):
        self._service, self._door = service, door

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self.search),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/static/{name}", self.static),
        ]

    async def search(self, request: Request) -> Response:
        """``GET``: the page of a search, with what went wrong in a sentence; without a search, the empty page."""
        asked, view, failure = Asked(), None, None
        try:
            asked = Asked.of(request.query_params.multi_items())
            if not asked.empty:
                view = await self._service.search(asked)
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            if failure.status >= 500:
                LOG.warning("%s: %s", request.url.path, error)
        return HTMLResponse(self._rendered(asked, view, failure), 200 if failure is None else failure.status)

    def _rendered(self, asked: Asked, view: dict[str, Any] | None, failure: Failure | None) -> str:
        return (
            _environment()
            .get_template("search.html")
            .render(
                asked=asked,
                view=view,
                failure=failure,
                indices=self._service.indices,
                index=asked.index or self._service.indices[0],
                without_picture={
                    id: replace(
                        asked.first_page(), pictures=tuple(each for each in asked.pictures if each != id)
                    ).query_string()
                    for id in asked.pictures
                },
                weights=dict(asked.weights),
                normalizers=NORMALIZERS,
                thumbs=self._service.thumbs is not None and judgeable(asked),
                bars=bars,
                unsure=UNSURE,
            )
        )

    async def login(self, request: Request) -> Response:
        """``GET`` the form for the token; ``POST`` it for a cookie that stands for it."""
        if request.method == "GET":
            return HTMLResponse(_environment().get_template("login.html").render(wrong=False))
        body = await body_of(request, _LONGEST_LOGIN, "the form")
        try:
            given = parse_qs(body.decode(), max_num_fields=4).get("token", [""])[0]
        except ValueError as error:
            raise QueryError("that isn't what the form sends") from error
        if not self._door.is_token(given.strip()):
            return HTMLResponse(_environment().get_template("login.html").render(wrong=True), 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, self._door.cookie, _DAY_S, httponly=True, samesite="strict", secure=secure)
        return answer

    async def static(self, request: Request) -> Response:
        """``GET``: the stylesheet and the script."""
        name = request.path_params["name"]
        if name not in _TYPES:
            raise HTTPException(404, "there is no such file")
        headers = {"cache-control": "no-cache", "content-type": _TYPES[name]}
        return Response(_static(name), headers=headers)


def bars(hit: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each leg's share of a hit's score as a place and a width, in hundredths of the whole bar, and a colour."""
    drawn, x = [], 0.0
    for i, part in enumerate(hit["parts"]):
        width = max(0.0, min(100.0 - x, part["weighted"] * 100))
        drawn.append({"x": f"{x:.2f}", "width": f"{width:.2f}", "colour": i % _COLOURS})
        x += width
    return drawn


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("crosslens.serving", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: well_formed(value) if isinstance(value, str) else value,
    )


@cache
def _static(name: str) -> bytes:
    return files("crosslens.serving").joinpath("static", name).read_bytes()
