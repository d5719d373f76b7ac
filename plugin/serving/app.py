"""The service as an ASGI application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from elastic_transport import TransportError
from elasticsearch import ApiError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from crosslens.errors import CrosslensError
from crosslens.serving.answers import Failure, failure_of
from crosslens.serving.api import Api
from crosslens.serving.files import Files
from crosslens.serving.guard import Guard
from crosslens.serving.origin import Door
from crosslens.serving.page import Page
from crosslens.serving.rates import Allowance, Rate
from crosslens.serving.service import LOG, Service

DEFAULT_RATE = Rate(per_second=20, burst=60)


def application(service: Service, door: Door, rate: Rate = DEFAULT_RATE) -> ASGIApp:
    """Return the application, behind its guard."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await service.close()

    app = Starlette(
        routes=[*Page(service, door).routes(), *Api(service).routes(), *Files(service).routes()],
        lifespan=lifespan,
        exception_handlers={
            HTTPException: _refused,
            **dict.fromkeys((CrosslensError, ApiError, TransportError), _known),
            Exception: _unknown,
        },
    )
    return Guard(app, door, Allowance(rate))


async def _refused(_: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return JSONResponse(Failure(status, detail).as_dict(), status)


async def _known(request: Request, error: Exception) -> Response:
    failure = failure_of(error)
    if failure is None:
        return await _unknown(request, error)
    if failure.status >= 500:
        LOG.warning("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse(failure.as_dict(), failure.status)


async def _unknown(_: Request, error: Exception) -> Response:
    # Starlette raises it again after this answer, so that the server logs it whole.
    return JSONResponse(Failure(500, f"the service failed ({type(error).__name__})", "its log says why").as_dict(), 500)
