"""Errors in the command line's words."""

from __future__ import annotations

from elastic_transport import TransportError
from elasticsearch import ApiError

from crosslens.errors import CrosslensError

EXPECTED = (CrosslensError, ApiError, TransportError, OSError)
"""The errors that end a command with one sentence."""


def own(error: Exception) -> CrosslensError:
    """Return one of the `EXPECTED` errors as crosslens's own, which other processes can receive as well."""
    if isinstance(error, CrosslensError):
        return error
    if isinstance(error, OSError):
        named = f": {error.filename}" if error.filename else ""
        return CrosslensError(f"{error.strerror or error}{named}")
    return CrosslensError(f"Elasticsearch refused the request: {error}")


def sentence(error: CrosslensError) -> str:
    """Return the error with its hint in the command line's words: the flag or the command that the hint means."""
    means = []
    if error.verb:
        means.append(f"crosslens {error.verb}")
    if error.parameter:
        means.append(f"--{error.parameter.replace('_', '-')}")
    return f"{error} ({' '.join(means)})" if means else str(error)
