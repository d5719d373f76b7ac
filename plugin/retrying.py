"""Requests that may be made twice, made again with growing pauses while the server is busy or can't be reached."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import SerializationError
from elasticsearch import ApiError, ConnectionTimeout, Elasticsearch, UnsupportedProductError

from crosslens import stopping
from crosslens.errors import ConnectionFailedError

_T = TypeVar("_T")
BUSY = frozenset({429, 502, 503, 504})
# The client's errors for an answer that never came or was cut off, even within its headers.
_LOST = (TransportConnectionError, ConnectionTimeout, SerializationError, UnsupportedProductError)
_ATTEMPTS = 8
_LONGEST_PAUSE_S = 20.0
GO_ON = "what was written stays, and the same call again goes on from there"


class StillBusyError(Exception):
    """Some writes of a request were turned away for now."""


def patiently(request: Callable[[], _T], *, refused: Callable[[], None] = lambda: None) -> _T:
    """Return the answer to ``request``, made again with growing pauses while the server is busy or can't be reached.

    For requests that may be made twice. ``refused`` is called for each failed attempt. Raises `ConnectionFailedError`
    after about half a minute of pauses.
    """
    for pause in _pauses():
        try:
            return request()
        except (ApiError, *_LOST, StillBusyError) as error:
            if not isinstance(error, _LOST) and getattr(error, "status_code", 429) not in BUSY:
                raise
            refused()
            if pause is None:
                raise ConnectionFailedError(
                    f"Elasticsearch didn't do what was asked in {_ATTEMPTS} attempts ({error})", hint=GO_ON
                ) from error
            stopping.pause(pause)
    raise AssertionError("the last pause is None")


def patient(client: Elasticsearch) -> Elasticsearch:
    """Return the client with every request made `patiently`; for requests that may be made twice.

    An answer cut off in its headers can pass for an empty one; that request is repeated as well.
    """
    if hasattr(client, "crosslens_impatient"):
        return client
    clone: Any = client.options()
    perform = clone.perform_request

    def once(method: str, path: str, **how: Any) -> Any:
        answer = perform(method, path, **how)
        if method != "HEAD" and (answer.body is None or answer.body in ("", b"")):
            raise TransportConnectionError("the answer was cut short")
        return answer

    clone.perform_request = lambda method, path, **how: patiently(lambda: once(method, path, **how))
    clone.crosslens_impatient = client
    patient_client: Elasticsearch = clone
    return patient_client


def impatient(client: Elasticsearch) -> Elasticsearch:
    """Return the client that `patient` was given."""
    return getattr(client, "crosslens_impatient", client)


def _pauses() -> Iterator[float | None]:
    """Yield the seconds to wait after each attempt: doubling, with jitter so that workers don't return together."""
    for attempt in range(_ATTEMPTS - 1):
        yield min(_LONGEST_PAUSE_S, 0.25 * 2**attempt) * random.uniform(0.7, 1.3)
    yield None
