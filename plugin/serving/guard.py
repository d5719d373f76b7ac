"""What every request passes before it is answered, and what every answer says of itself to browsers."""

from __future__ import annotations

import math
import time
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crosslens.serving.origin import COOKIE, Door
from crosslens.serving.rates import Allowance

# Scripts, styles, pictures and players come from here and nowhere else, and nothing stands in the page itself.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# Whoever watches the service has no token, and these say nothing of an index.
_OPEN = ("/healthz", "/readyz", "/login", "/static/")
# How much of a client's rate a request takes, by the beginning of its path, if not 1. Watching the process is free;
# whether it's ready is asked of Elasticsearch. Given pictures are held in memory until they have arrived.
_COSTS = (("/healthz", 0.0), ("/metrics", 0.0), ("/static/", 0.02), ("/pictures/", 0.05), ("/api/v1/pictures", 5.0))
_PAGES = frozenset({"/", "/judged"})


class Guard:
    """Refuses requests by a foreign name, from foreign pages, without the token, and beyond a client's rate."""

    def __init__(self, app: ASGIApp, door: Door, allowance: Allowance):
        self._app, self._door, self._allowance = app, door, allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have the application answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # No other protocol is served; its server closes the connection.
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refused(scope)
        await (self._app if refused is None else refused)(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), str(scope["path"]), str(scope["method"])
        host = headers.get("host", "")
        if not self._door.knows_host(host):
            return _error(421, f"this service isn't called {host[:100]!r}", "name it with --allow-host")
        if not self._door.same_origin(method, headers):
            return _error(403, "the request comes from a page of another site", "")
        client = scope["client"][0] if scope.get("client") else "?"
        wait = self._allowance.ask(client, _cost(path), time.monotonic())
        if wait:
            seconds = math.ceil(min(wait, 3600))
            answer = _error(429, "too many requests", f"wait {seconds} s")
            answer.headers["retry-after"] = str(seconds)
            return answer
        if not path.startswith(_OPEN) and not self._door.admits(headers.get("authorization", ""), _cookie(headers)):
            if method == "GET" and path in _PAGES:
                return RedirectResponse("/login", 303)
            answer = _error(401, "this service demands its token", "send it as Authorization: Bearer TOKEN")
            answer.headers["www-authenticate"] = "Bearer"
            return answer
        return None


def _cost(path: str) -> float:
    return next((cost for prefix, cost in _COSTS if path.startswith(prefix)), 1.0)


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _error(status: int, message: str, hint: str) -> Response:
    return JSONResponse({"error": {"message": message, "hint": hint}}, status)
