"""Several addresses of one cluster: a request goes to the next one where nothing was sent to the first."""

from __future__ import annotations

import ssl
from typing import Any

from elastic_transport import AsyncTransport, Transport, TransportApiResponse
from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import ConnectionTimeout as TransportTimeout
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError


class FailoverTransport(Transport):
    """Asks the next host where one can't be reached, which is safe for every request because it wasn't sent."""

    def perform_request(self, *what: Any, **how: Any) -> TransportApiResponse:  # noqa: D102 - as in the base class
        for left in reversed(range(len(self.node_pool))):
            try:
                return super().perform_request(*what, **how)
            except (TransportConnectionError, TransportTimeout) as error:
                if not (left and never_sent(error)):
                    raise
        raise AssertionError("a pool has a host")


class AsyncFailoverTransport(AsyncTransport):
    """The asyncio counterpart of `FailoverTransport`."""

    async def perform_request(  # type: ignore[override]  # noqa: D102 - as in the base class
        self, *what: Any, **how: Any
    ) -> TransportApiResponse:
        for left in reversed(range(len(self.node_pool))):
            try:
                return await super().perform_request(*what, **how)
            except (TransportConnectionError, TransportTimeout) as error:
                if not (left and never_sent(error)):
                    raise
        raise AssertionError("a pool has a host")


def never_sent(error: BaseException) -> bool:
    """Return whether a request failed before it connected; an untrusted certificate doesn't count."""
    # The client raises its error directly from the library's; errors further down may be from earlier attempts.
    cause = error.__cause__ or error.__context__
    if isinstance(cause, NewConnectionError | ConnectTimeoutError):
        return True
    # aiohttp's class, not imported for its name alone; its TLS errors are of this class as well.
    of_aiohttp = any(kind.__name__ == "ClientConnectorError" for kind in type(cause).__mro__)
    return of_aiohttp and not isinstance(getattr(cause, "os_error", None), ssl.SSLError)
