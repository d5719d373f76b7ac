"""What goes wrong, as a status and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from elastic_transport import ConnectionTimeout, TransportError
from elasticsearch import ApiError, AuthenticationException, AuthorizationException

from crosslens.errors import (
    ConnectionFailedError,
    CrosslensError,
    ImageError,
    MappingError,
    MediaError,
    ModelError,
    QueryError,
)
from crosslens.surrogates import well_formed


@dataclass(frozen=True)
class Failure:
    """An HTTP ``status``, what was wrong (``message``), and what to do (``hint``, may be empty)."""

    status: int
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, dict[str, str]]:
        """The body of an answer, as the API's `Failure` schema describes it."""
        return {"error": {"message": well_formed(self.message), "hint": well_formed(self.hint)}}


def failure_of(error: Exception) -> Failure | None:
    """Return what an error means to whoever asked; None for one that nobody expected.

    What a server answers may name its machines, so of its errors only the kind is passed on.
    """
    match error:
        case QueryError() | ImageError() | MediaError():
            return Failure(400, error.message, error.hint)
        case MappingError():
            return Failure(404, error.message, error.hint)
        case ModelError():
            return Failure(500, error.message, error.hint)
        case ConnectionFailedError():
            return Failure(503, "Elasticsearch doesn't answer", "try again in a moment")
        case CrosslensError():
            return Failure(500, error.message, error.hint)
        case AuthenticationException() | AuthorizationException():
            return Failure(502, "Elasticsearch refuses this service's credentials", "ask whoever runs it")
        case ApiError() if error.status_code in (429, 503):
            return Failure(503, "Elasticsearch is busy", "try again in a moment")
        case ApiError() if error.status_code == 404:
            return Failure(404, "what was asked for is not there any more", "search from the first page")
        case ApiError():
            return Failure(502, f"Elasticsearch answered with status {error.status_code}", "ask whoever runs it")
        case ConnectionTimeout():
            return Failure(504, "Elasticsearch took too long", "try again in a moment")
        case TransportError():
            return Failure(503, "Elasticsearch doesn't answer", "try again in a moment")
    return None
